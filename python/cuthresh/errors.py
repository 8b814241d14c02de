"""What the library says when something is wrong, as exceptions."""

OK, INVALID_ARGUMENT, UNSUPPORTED, DEVICE_ERROR, INTERNAL_ERROR = range(5)

_NAMES = {INVALID_ARGUMENT: "CTH_INVALID_ARGUMENT", UNSUPPORTED: "CTH_UNSUPPORTED",
          DEVICE_ERROR: "CTH_DEVICE_ERROR", INTERNAL_ERROR: "CTH_INTERNAL_ERROR"}


class Error(RuntimeError):
    """`status` is the C library's cth_status."""

    status = INTERNAL_ERROR

    def __init__(self, message, status=None):
        super().__init__(message)
        if status is not None:
            self.status = status

    @property
    def status_name(self):
        return _NAMES.get(self.status, "unknown status")


class InvalidArgument(Error, ValueError):
    """An argument is out of range or does not fit another."""

    status = INVALID_ARGUMENT


class Unsupported(Error):
    """Sensible, but not here: a dtype, a device that cannot be had."""

    status = UNSUPPORTED


class DeviceError(Error):
    """The machine failed: out of memory, a CUDA call that returned an error."""

    status = DEVICE_ERROR


_CLASSES = {INVALID_ARGUMENT: InvalidArgument, UNSUPPORTED: Unsupported, DEVICE_ERROR: DeviceError}


def error_of(status, message):
    return _CLASSES.get(status, Error)(message, status)
