from typing import Any

from django.core.management.base import OutputWrapper
from django.db import router

from taskbell.management.hops import examine
from taskbell.management.verbs.base import Verb
from taskbell.models import Outbox


class Doctor(Verb):
    help = "Go through every hop of an event's way and name what fails; exit status 1 if anything did."

    @property
    def checked(self) -> bool:
        return False  # what the checks find is told here, among the rest

    def run(self, out: OutputWrapper, **options: Any) -> int:
        failed = 0
        for finding in examine(router.db_for_write(Outbox)):
            out.write(f"{finding.grade:<5} {finding.hop:<9} {finding.text}")
            if finding.advice:
                out.write(f"{'':15} -> {finding.advice}")
            out.flush()
            failed += finding.grade == "FAIL"
        return 1 if failed else 0


verb = Doctor()
