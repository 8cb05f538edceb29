"""Open cases by corridor and by the stage that they have come to."""

STAGES = (
    "identification",
    "first_assistance_and_protection",
    "long_term_assistance_and_social_inclusion",
    "return_and_social_inclusion",
)


class Caseload:
    name = "caseload"
    version = 2

    def initial(self):
        return {}

    def fold(self, cases, event):
        if event.kind == "case_opened":
            others = [country for country in event.fields["countries"] if country != event.party]
            corridor = "-".join([event.party, *others])
            cases[event.case_id] = {
                "opening": event.action_id,
                "corridor": corridor,
                "stages": {},
                "closings": {},
                "merged": {},
            }
            return cases
        case = cases.get(event.case_id)
        if case is None:
            return cases
        if event.kind == "correction" and event.fields["effect"] == "annulled":
            if event.fields["corrects"] == case["opening"]:  # it was opened in error
                del cases[event.case_id]
                return cases
            case["stages"].pop(event.fields["corrects"], None)
            case["closings"].pop(event.fields["corrects"], None)
        elif event.kind == "case_merged":
            case["merged"][event.action_id] = event.fields["continues_in"]
        elif event.kind == "merge_undone":
            case["merged"].pop(event.fields["merge"], None)
        elif event.kind in ("case_closed", "case_reopened"):
            case["closings"][event.action_id] = event.kind
        elif event.stage in STAGES:
            case["stages"][event.action_id] = STAGES.index(event.stage)
        return cases

    def rows(self, cases):
        counts = {}
        for case in cases.values():
            if not case["merged"] and [None, *case["closings"].values()][-1] != "case_closed":
                key = (case["corridor"], STAGES[max(case["stages"].values(), default=0)])
                counts[key] = counts.get(key, 0) + 1
        for (corridor, stage), count in sorted(counts.items()):
            yield {"corridor": corridor, "stage": stage, "cases": count}
