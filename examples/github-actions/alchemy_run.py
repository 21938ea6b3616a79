from __future__ import annotations

from guestbook import declare

from pytest_alchemy import alchemy

# Which credentials may touch what: those of pull requests no other stage than previews.
PROFILES = {"pr-*": ["ci"], "prod": ["prod"], "$USER": ["default"]}

with alchemy("guestbook", destroy_strategy="parallel", stage_profile_mapping=PROFILES) as app:
    print(f"{app.stage} is at {declare(app).url}")
