"""The language of the sentences that users read: English in the code, others as gettext catalogs beside this file."""

import gettext
from pathlib import Path

_ = gettext.translation("kilat", Path(__file__).parent, fallback=True).gettext
