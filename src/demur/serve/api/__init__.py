"""The HTTP API of the guard: routes, keys, limits, errors, records."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.serve.api._app import EXTENSIONS as EXTENSIONS
    from demur.serve.api._app import install_extensions as install_extensions
    from demur.serve.api._app import make_app as make_app
    from demur.serve.api._body import read_body as read_body
    from demur.serve.api._call import Call as Call
    from demur.serve.api._call import get_call as get_call
    from demur.serve.api._errors import ApiError as ApiError
    from demur.serve.api._keys import Caller as Caller
    from demur.serve.api._keys import Gate as Gate
    from demur.serve.api._keys import Keyring as Keyring
    from demur.serve.api._keys import needs as needs
    from demur.serve.api._metrics import Metrics as Metrics
    from demur.serve.api._metrics import forget_worker as forget_worker
    from demur.serve.api._metrics import use_worker_number as use_worker_number
    from demur.serve.api._parts import Observer as Observer
    from demur.serve.api._parts import Parts as Parts
    from demur.serve.api._rate import SharedBuckets as SharedBuckets
    from demur.serve.api._record import Recorder as Recorder
    from demur.serve.api._route import GuardRoute as GuardRoute
    from demur.serve.api._route import guard_router as guard_router
    from demur.serve.api._schemas import Body as Body
    from demur.serve.api._schemas import error_responses as error_responses

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ApiError": "_errors",
        "Body": "_schemas",
        "Call": "_call",
        "Caller": "_keys",
        "EXTENSIONS": "_app",
        "Gate": "_keys",
        "GuardRoute": "_route",
        "Keyring": "_keys",
        "Metrics": "_metrics",
        "Observer": "_parts",
        "Parts": "_parts",
        "Recorder": "_record",
        "SharedBuckets": "_rate",
        "error_responses": "_schemas",
        "forget_worker": "_metrics",
        "get_call": "_call",
        "guard_router": "_route",
        "install_extensions": "_app",
        "make_app": "_app",
        "needs": "_keys",
        "read_body": "_body",
        "use_worker_number": "_metrics",
    },
)
