"""What the catalog alone shows: pictures that cannot be used, similar labels, and uneven or small classes."""

import pandas as pd

from kilat.check.finding import Finding
from kilat.data.labels import similar_labels

UNEVEN = 10
"""The largest class over the smallest."""

FEW = 20
"""Pictures in a class that are few to train on, and to be measured on."""


def find(table: pd.DataFrame) -> list[Finding]:
    """Return findings about a table: refused pictures, similar labels, imbalance, classes with few pictures."""
    findings: list[Finding] = []
    refused = table[table["status"] != "used"]
    if len(refused):  # those with the same refusal code are a group, the commonest first
        groups = sorted(refused.groupby("code", sort=True).groups.items(), key=lambda item: -len(item[1]))
        captions = []
        for code, rows in groups:
            details = refused.loc[rows, "detail"].unique()
            captions.append({"code": str(code), "detail": str(details[0]) if len(details) == 1 else "…"})
        path = str(refused.loc[groups[0][1][0], "path"])
        values = {"count": len(refused), "n": len(table), "path": path, **captions[0]}
        rows_by_code = tuple(tuple(map(int, rows)) for _code, rows in groups)
        findings.append(Finding("refused", "warning", values, rows_by_code, tuple(captions)))
    by_name = table.loc[table["label"] != "", "label"].value_counts().sort_index()
    similar = {label: int(by_name[label]) for group in similar_labels(map(str, by_name.index)) for label in group}
    if similar:
        findings.append(Finding("similar_labels", "warning", {"labels": similar}))
    labelled = table[(table["status"] == "used") & (table["label"] != "")]
    by_label = labelled["label"].value_counts().sort_index().sort_values(kind="stable")
    counts = {str(label): int(count) for label, count in by_label.items()}
    if len(counts) > 1 and by_label.iloc[-1] >= UNEVEN * by_label.iloc[0]:
        smallest, *_others, largest = counts
        findings.append(Finding("imbalance", "warning", {"counts": counts, "largest": largest, "smallest": smallest}))
    few = {label: count for label, count in counts.items() if count < FEW}
    if few:
        findings.append(Finding("few_pictures", "warning", {"counts": few, "limit": FEW}))
    return findings
