"""Identified persons whom no service reached, or not within a week."""

from datetime import timedelta

WEEK = timedelta(days=7)


class ServicesGap:
    name = "services_gap"
    version = 4
    kinds = (
        "case_opened",
        "age_assessed",
        "victim_identified",
        "service_started",
        "correction",
        "case_merged",
        "merge_undone",
    )

    def initial(self):
        return {}

    def fold(self, cases, event):
        if event.kind == "case_opened":
            cases[event.case_id] = {
                "opening": event.action_id,
                "home": event.party,
                "age_groups": {event.action_id: event.fields["age_group"]},
                "victim_identified": {},
                "service_started": {},
                "merged": {},
            }
            return cases
        case = cases.get(event.case_id)
        if case is None:
            return cases
        if event.kind == "correction":
            if event.fields["effect"] != "annulled":
                return cases
            if event.fields["corrects"] == case["opening"]:  # opened in error
                del cases[event.case_id]
            else:
                for stated in ("age_groups", "victim_identified", "service_started"):
                    case[stated].pop(event.fields["corrects"], None)
        elif event.kind == "case_merged":
            case["merged"][event.action_id] = event.fields["continues_in"]
        elif event.kind == "merge_undone":
            case["merged"].pop(event.fields["merge"], None)
        elif event.kind == "age_assessed":  # the newest counts that is not annulled
            case["age_groups"][event.action_id] = event.fields["age_group"]
        else:
            case[event.kind][event.action_id] = event.acted_at
        return cases

    def rows(self, cases):
        found = {}
        for case in cases.values():
            if case["merged"] or not case["victim_identified"]:
                continue
            age_group = [*case["age_groups"].values()][-1]
            counts = found.setdefault((case["home"], age_group), [0, 0, 0])
            counts[0] += 1
            first = min(case["service_started"].values(), default=None)
            if first is None:
                counts[1] += 1
            elif first - min(case["victim_identified"].values()) > WEEK:
                counts[2] += 1
        for (home, age_group), (identified, unserved, late) in sorted(found.items()):
            yield {
                "home": home,
                "age_group": age_group,
                "identified": identified,
                "unserved": unserved,
                "after_a_week": late,
            }
