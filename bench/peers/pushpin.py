"""Pushpin: a proxy that holds streams for a project behind it."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.peers.base import Missing, Peer
from bench.rig.processes import LOAD_CORE, Process, django_command
from bench.rig.servers import HOST, free_port

# Debian's file, with folders and ports of our own.
CONFIGURATION: Final = """
[global]
include=/usr/lib/pushpin/internal.conf
rundir={folder}
ipc_prefix=bench-
[runner]
services=condure,pushpin-proxy,pushpin-handler
http_port={host}:{port}
logdir={folder}
log_level=1
client_maxconn=50000
condure_bin=condure
[proxy]
routesfile={folder}/routes
zurl_out_specs=ipc://{folder}/zurl-in
zurl_out_stream_specs=ipc://{folder}/zurl-in-stream
zurl_in_specs=ipc://{folder}/zurl-out
[handler]
push_in_http_addr={host}
push_in_http_port={publish_port}
message_rate=1000000
message_hwm=1000000
connection_subscription_max=20
"""

# Zurl makes Pushpin's requests to the project behind it; as it comes it refuses loopback.
ZURL: Final = """
[General]
in_spec=ipc://{folder}/zurl-in
in_stream_spec=ipc://{folder}/zurl-in-stream
out_spec=ipc://{folder}/zurl-out
in_req_spec=ipc://{folder}/zurl-req
defpolicy=allow
max_open_requests=2000
buffer_size=200000
timeout=600
in_hwm=1000
out_hwm=1000
"""


class Pushpin(Peer):
    """Pushpin's own processes, and the project behind it that tells it to hold each stream."""

    title = "Pushpin"
    path = "/events"
    in_flight = 32
    body = '{"items":[{"channel":"bench","formats":{"http-stream":{"content":"data: STAMP\\n\\n"}}}]}'

    def command(self) -> Sequence[str | Path]:
        program, zurl = shutil.which("pushpin"), shutil.which("zurl")
        if program is None or zurl is None:
            raise Missing("apt-get install pushpin zurl")
        self.port, publish_port, behind = free_port(), free_port(), free_port()
        self.publish_to = (publish_port, "/publish/")
        fetching = self.folder / "zurl.conf"
        fetching.write_text(ZURL.format(folder=self.folder))
        self._beside = [
            Process("project behind Pushpin", django_command("bench.peers.holding", behind), core=LOAD_CORE),
            Process("zurl", [zurl, f"--config={fetching}"], core=LOAD_CORE),
        ]
        (self.folder / "routes").write_text(f"* {HOST}:{behind}\n")
        configuration = self.folder / "pushpin.conf"
        configuration.write_text(
            CONFIGURATION.format(folder=self.folder, host=HOST, port=self.port, publish_port=publish_port)
        )
        return [program, f"--config={configuration}"]

    def stop(self) -> None:
        super().stop()
        for process in self._beside:
            process.stop()
