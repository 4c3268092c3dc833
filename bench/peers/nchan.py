"""nchan: publish and subscribe inside nginx, in C."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.peers.base import Missing, Peer
from bench.rig.servers import HOST, free_port

MODULES: Final = (Path("/usr/lib/nginx/modules/ngx_nchan_module.so"), Path("/etc/nginx/modules/ngx_nchan_module.so"))

CONFIGURATION: Final = """
load_module {module};
daemon off;
user {user};
worker_processes 1;
worker_rlimit_nofile {files};
error_log stderr crit;
pid {folder}/pid;
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  nchan_shared_memory_size 512m;
  server {{
    listen {host}:{port} backlog=4096;
    location = /events {{ nchan_subscriber eventsource; nchan_channel_id bench; }}
    location = /publish {{ nchan_publisher; nchan_channel_id bench; nchan_store_messages off; }}
  }}
}}
"""
# Its own open files beside the streams.
SPARE: Final = 100


class Nchan(Peer):
    """nginx with one worker and the module."""

    title = "nchan"
    path = "/events"

    def command(self) -> Sequence[str | Path]:
        import getpass
        import resource

        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        module = next((found for found in MODULES if found.exists()), None)
        if nginx is None or module is None:
            raise Missing("apt-get install libnginx-mod-nchan")
        self.port = free_port()
        self.publish_to = (self.port, "/publish")
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        configuration = self.folder / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(
                module=module,
                user=getpass.getuser(),
                files=files,
                connections=files - SPARE,
                folder=self.folder,
                host=HOST,
                port=self.port,
            )
        )
        return [nginx, "-p", self.folder, "-c", configuration]
