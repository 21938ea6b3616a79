from __future__ import annotations

from guestbook import declare

from pytest_alchemy import alchemy

# Which credentials may touch what: those of pull requests no other stage than previews.
PROFILES = {"pr-*": ["ci"], "prod": ["prod"], "$USER": ["default"]}

with alchemy("guestbook", destroy_strategy="parallel", stage_profile_mapping=PROFILES) as app:
    site = declare(app)
    # `alchemy deploy --plan` makes nothing, so that a new site has no address there.
    print(
        f"{app.stage} is at {getattr(site, 'url', 'an address that is known once it is deployed')}"
    )
