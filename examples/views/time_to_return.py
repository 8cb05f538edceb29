"""Whole days from a person's formal identification to their reception after the return."""

from statistics import median_low

DAY = 86_400


class TimeToReturn:
    name = "time_to_return"
    version = 3
    kinds = (
        "case_opened",
        "victim_identified",
        "received",
        "correction",
        "case_merged",
        "merge_undone",
    )

    def initial(self):
        return {}

    def fold(self, cases, event):
        if event.kind == "case_opened":
            cases[event.case_id] = {
                "home": event.party,
                "identified": {},
                "received": {},
                "merged": {},
            }
            return cases
        case = cases.get(event.case_id)
        if case is None:
            return cases
        if event.kind == "victim_identified":
            case["identified"][event.action_id] = event.acted_at
        elif event.kind == "received":
            case["received"][event.action_id] = (event.acted_at, event.party)
        elif event.kind == "case_merged":
            case["merged"][event.action_id] = event.fields["continues_in"]
        elif event.kind == "merge_undone":
            case["merged"].pop(event.fields["merge"], None)
        elif event.fields["effect"] == "annulled":
            case["identified"].pop(event.fields["corrects"], None)
            case["received"].pop(event.fields["corrects"], None)
        return cases

    def rows(self, cases):
        found = {}
        for case in cases.values():
            if not case["merged"] and case["identified"] and case["received"]:
                identified = min(case["identified"].values())
                received = max(at for at, _ in case["received"].values())
                destination = max(party for _, party in case["received"].values())
                seconds = int(received.timestamp() // 1) - int(identified.timestamp() // 1)
                found.setdefault((case["home"], destination), []).append(seconds // DAY)
        for (home, destination), days in sorted(found.items()):
            yield {
                "home": home,
                "destination": destination,
                "cases": len(days),
                "shortest": min(days),
                "median": median_low(days),
                "longest": max(days),
            }
