"""Names as somebody chooses them who wants a terminal, a page or a spreadsheet to do something."""

import unicodedata

HOSTILE = {
    "a forged line": "b\nok.png: dog 100.0%",
    "a carriage return": "wrong\rright",
    "a next line": "b\x85ok.png: dog 100.0%",
    "a line separator": "b\u2028ok.png: dog 100.0%",
    "a paragraph separator": "b\u2029ok",
    "backspaces": "cat\b\b\bdog",
    "a tab": "a\tb",
    "colours": "\x1b[31mred\x1b[0m",
    "a cleared screen": "\x1b[2J\x1b[H",
    "a title": "\x1b]0;title\x07",
    "a link": "\x1b]8;;https://example.com\x1b\\here\x1b]8;;\x1b\\",
    "C1 controls": "\x9b31mred\x9d0;title\x9c",
    "a turned ending": "cat\u202egnp.exe",
    "isolates": "\u2066a\u2067b\u2068c\u2069",
    "a mark of direction": "a\u200fb\u061cc\u200ed",
    "no width": "do\u200bg\u2060\ufeff",
    "a joiner between letters": "do\u200dg",
    "a soft hyphen": "do\u00adg",
    "tags": "cat\U000e0064\U000e006f\U000e0067",
    "selectors": "cat\ufe0f\ufe01\U000e0121",
    "a flood of marks": "a" + "\u0301\u0336\u0489" * 20,
    "a filler": "\u3164\u115f\u2800",
    "half a pair": "a\ud800b",
    "an undecodable byte": "a\udcffb",
    "nothing": "a\x00b",
    "deleted": "a\x7fb",
    "no characters": "a\uffff\ufdd0b",
    "annotations": "a\ufff9b\ufffac\ufffb",
}

FORMULAS = (
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\uff1d1+1",
    "'=1",
    "''@x",
    "=a\r\nb",
    '=,;"',
)

MARKUP = {
    "rich": "[red]cat[/red] [link=https://example.com]here[/link] :smile:",
    "a script": "</script><script>alert(1)</script>",
    "an image": "\"'><img src=x onerror=alert(1)>",
    "a comment": "<!--",
    "a section": "]]> & <![CDATA[",
    "a template": "{{ 7 * 7 }}{n}{0}{0.__class__}%(n)s",
    "a style": "</style><style>*{display:none}</style> var(--text) var(--none)",
    "mathematics": "$a_b$ \\frac",
}

ORDINARY = (
    "kucing",
    "É naïve «œuvre» – “quoted”…",
    "Ελληνικά и русский",
    "قطة",
    "می‌خواهم",
    "שָׁלוֹם עוֹלָם",
    "क्षेत्र क्‍ष",
    "ไม่ได้",
    "Tiếng Việt",
    unicodedata.normalize("NFD", "Tiếng Việt"),
    "猫と犬 고양이 葛󠄀",
    "👨‍👩‍👧‍👦 ❤️ 1️⃣ 🇮🇩 👍🏽 ⚠️ \u2139\ufe0f",
    "C:\\Users\\me\\pictures",
    "it's 100% [sic] #1 & <2>",
    "a\u00a0b\u202fc\u3000d",
)


def controls_of(text: str) -> set[str]:
    """Return what a terminal would obey, or nobody would see, in what was printed; line breaks of its own apart."""
    found = {sign for sign in text if unicodedata.category(sign) in ("Cc", "Cs", "Cf", "Zl", "Zp")}
    return found - {"\n"}
