"""A process of a rebuild: folds one part for each line that it reads, and answers with a line.

The process reads JSON lines on its standard input: the plan, then parts. It ends when its input
does, so that it never outlives the rebuild for longer than a part takes. Only
:mod:`projections.upkeep.rebuild` runs it.
"""

import json
import signal
import sys
from typing import Any
from uuid import UUID

from ledger.events.newer_event import NewerEventError
from ledger.system.gc_tuning import collect_seldom
from projections.upkeep.rebuild_shards import Plan, Shard, ShardFolder


def plan_line(plan: Plan) -> str:
    """Return the first line that a process reads: the plan."""
    content = {
        "conninfo": plan.conninfo,
        "slots": dict(plan.slots),
        "ledger_id": str(plan.ledger_id),
        "target": plan.target,
    }
    return json.dumps(content) + "\n"


def shard_line(part: Shard | None) -> str:
    """Return a later line that a process reads: a part, or ``None`` for the acts.

    The acts are the acts on the protocol.
    """
    if part is None:
        return "null\n"
    bounds = [None if bound is None else str(bound) for bound in (part.above, part.upto)]
    return json.dumps(bounds) + "\n"


def read_answer(line: bytes) -> int:
    """Return the number of folded events from a process's answer.

    Raises ``ChildProcessError`` with the fault if the process failed, and ``NewerEventError`` if
    the process met an event that needs a later program.
    """
    if not line:
        raise ChildProcessError("a process of the rebuild ended")
    answer = json.loads(line)
    if isinstance(answer, int):
        return answer
    if isinstance(answer, dict):
        raise NewerEventError(answer["newer"])
    raise ChildProcessError(f"a process of the rebuild failed: {answer}")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the rebuild ends its processes itself
    # A fold makes no cycles to speak of.
    collect_seldom()
    try:
        with ShardFolder(_plan(json.loads(sys.stdin.readline()))) as folder:
            _say(0)
            for line in sys.stdin:
                bounds = json.loads(line)
                if bounds is None:
                    _say(folder.fold_registry())
                else:
                    above, upto = (None if bound is None else UUID(bound) for bound in bounds)
                    _say(folder.fold(Shard(above, upto)))
    except BrokenPipeError:
        pass
    except NewerEventError as error:
        _say({"newer": error.position})
    except Exception as error:
        # The type alone: a message could repeat what is in a row.
        _say(type(error).__name__)


def _plan(content: dict[str, Any]) -> Plan:
    return Plan(
        conninfo=content["conninfo"],
        slots=content["slots"],
        ledger_id=UUID(content["ledger_id"]),
        target=content["target"],
    )


def _say(answer: int | str | dict[str, int]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
