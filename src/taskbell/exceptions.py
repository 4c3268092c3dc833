"""
TaskbellError
├── InvalidEvent (ValueError)        a value that can never be delivered; raised before any SQL
│   ├── InvalidChannel
│   ├── InvalidType
│   ├── InvalidPayload
│   │   └── PayloadTooLarge
│   └── InvalidNotification
├── PublicError                      raise it in a task: its text is shown to the owner
├── InvalidCursor (ValueError)       text that is no cursor of ours
└── WakeupUnavailable                a wakeup that cannot ring or listen right now
"""


class TaskbellError(Exception):
    """Something Taskbell cannot do; the message says what to do about it."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class InvalidEvent(TaskbellError, ValueError):
    """This event cannot be published."""


class InvalidChannel(InvalidEvent):
    """A channel is `namespace:name`, like `public:news` or `project:42`."""


class InvalidType(InvalidEvent):
    """A type is 1 to 64 of a-z, 0-9, dot, underscore and hyphen, and not a name with a use of its own."""


class InvalidPayload(InvalidEvent):
    """A payload is what Django's JSON encoder can write and a browser can read back unchanged."""


class PayloadTooLarge(InvalidPayload):
    """The payload is over 64 KiB as JSON; publish an id and let the page fetch the rest."""


class InvalidNotification(InvalidEvent):
    """This notification cannot be left in anybody's inbox."""


class PublicError(TaskbellError):
    """Something went wrong that the owner of the task may read about."""


class InvalidCursor(TaskbellError, ValueError):
    """This is no cursor of Taskbell's."""


class WakeupUnavailable(TaskbellError):
    """The wakeup cannot be reached; events still arrive within POLL seconds."""
