from typing import Any

from django.core.management.base import CommandError, OutputWrapper

from taskbell.inbox.push.config import is_installed
from taskbell.management.verbs.base import Verb

TOLD = """\
# Into the settings. Whoever has the private key can send in your name: keep it where your other secrets are. It may
# also stand alone in a file, whose path you write instead: then no dump of the settings shows it.
TASKBELL = {{
    "PUSH": {{
        "PRIVATE_KEY": "{private}",
        "CONTACT": "mailto:you@example.com",
    }},
}}
# Browsers are told the public key by your pages: {public}
# With another key everybody has to subscribe again; their browsers do so on the next page."""


class VapidKeys(Verb):
    help = "Print a new pair of keys for Web Push, and what to write into the settings."

    @property
    def checked(self) -> bool:
        # Whoever is told by a check that there is no key comes here.
        return False

    def run(self, out: OutputWrapper, **options: Any) -> int:
        if not is_installed():
            raise CommandError("Web Push wants packages that are missing: pip install 'taskbell[push]'.")
        from taskbell.inbox.push.keys import new_private, public_of

        private = new_private()
        out.write(TOLD.format(private=private, public=public_of(private)))
        return 0


verb = VapidKeys()
