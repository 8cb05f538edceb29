"""What is released, as another implementation verifies it: npm's ``@sd-jwt/core``."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from joserfc.jwk import OKPKey

from api.client import LedgerClient
from api.sharing import Sharing
from ledger import keys
from ledger.application import Ledger
from ledger.store.database import Database
from ledger.vault import parcels
from ledger.vault.country_key import FileCountryKey
from ledger.vault.data_keys import DataKeys
from ledger.vault.disclosures import Vaults
from ledger.vault.parcels import Parcel
from ledger.sd_jwt import make_disclosure

PROGRAM = Path(__file__).parent / "sd_jwt"


def has_npm() -> bool:
    return shutil.which("npm") is not None


if not has_npm() and os.environ.get("CASE_LEDGER_TEST_CROSSCHECK") != "required":
    pytest.skip("needs Node.js 18 or newer and npm", allow_module_level=True)
