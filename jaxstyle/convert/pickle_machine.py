"""A machine for pickles of plain values, which calls only the functions it is given.

Python's own machine trusts the numbers in a pickle: an index of its memo allocates as
many entries, and nested keys take time that doubles with each level. What this one
takes is bounded by the length of the pickle.
"""

import pickletools
from collections.abc import Callable, Mapping
from typing import IO, Any

MOST_OPERATIONS = 2**22
"""The most operations of a pickle; those of a large network are a tenth of this."""

_PLAIN = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES"),
}
_NEW: Mapping[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}


def run_pickle(
    stream: IO[bytes],
    *,
    find_name: Callable[[str], Any],
    load_persistent: Callable[[Any], Any],
) -> Any:
    """Build the value of the next pickle of a stream.

    Args:
        stream: its ``read`` must allocate no more than it returns.
        find_name: maps ``module.name`` to a function or a value, or raises.
        load_persistent: maps a persistent identifier to a value, or raises.

    Returns:
        Dicts, lists, tuples and plain values, and those of the functions.

    Raises:
        ValueError: an operation that plain values do not need, or too many of them.
            Damaged pickles raise other exceptions, too.
    """
    machine = _Machine(find_name, load_persistent)
    for count, (operation, argument, _) in enumerate(pickletools.genops(stream)):
        if count == MOST_OPERATIONS:
            raise ValueError(f"its pickle has more than {count} operations")
        machine.step(operation.name, argument)
    return machine.stack[-1]


def fill_dict(target: Any, *items: Any) -> None:
    """Set items of a dict: keys and values by turns; only plain keys are hashed."""
    if not isinstance(target, dict):
        raise ValueError("its pickle sets items of a value that is no dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        short = isinstance(key, int) and key.bit_length() < 64
        if not (short or isinstance(key, str | bytes | float | None)):
            raise ValueError("a key of a dict is neither text nor a number")
        target[key] = value


class _Machine:
    def __init__(
        self,
        find_name: Callable[[str], Any],
        load_persistent: Callable[[Any], Any],
    ) -> None:
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._find_name = find_name
        self._load_persistent = load_persistent

    def step(self, operation: str, argument: Any) -> None:
        """Run one operation with its argument."""
        push, pop = self.stack.append, self.stack.pop
        match operation:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self._marks.append(len(self.stack))
            case "BINSTRING" | "SHORT_BINSTRING":  # of Python 2
                push(argument.encode("latin-1").decode())
            case "TUPLE":
                push(tuple(self._pop_from(self._marks.pop())))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                push(tuple(self._pop_from(-int(operation[-1]))))
            case "APPEND":
                value = pop()
                self.stack[-1].append(value)
            case "APPENDS":
                values = self._pop_from(self._marks.pop())
                self.stack[-1].extend(values)
            case "SETITEM":
                item = self._pop_from(-2)
                fill_dict(self.stack[-1], *item)
            case "SETITEMS":
                items = self._pop_from(self._marks.pop())
                fill_dict(self.stack[-1], *items)
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                push(self._memo[argument])
            case "GLOBAL":
                push(self._find_name(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                push(self._find_name(".".join(self._pop_from(-2))))
            case "REDUCE":
                function, arguments = self._pop_from(-2)
                push(function(*arguments))
            case "BINPERSID":
                push(self._load_persistent(pop()))
            case "BUILD":  # attributes, which no plain value has
                pop()
            case _ if operation in _PLAIN:
                push(argument)
            case _ if operation in _NEW:
                push(_NEW[operation]())
            case _:
                raise ValueError(f"its pickle has {operation}, which no tensor needs")

    def _pop_from(self, start: int) -> list[Any]:
        """Remove and return the values of the stack from a position on."""
        values = self.stack[start:]
        if start < 0 and len(values) < -start:
            raise ValueError("its pickle takes more values than there are")
        del self.stack[start:]
        return values
