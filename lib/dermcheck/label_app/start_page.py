"""The page a browser shows at the server's address."""

from typing import Final

__all__ = ["START_PAGE"]

START_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>DermCheck</title></head>
<body style="font: 1rem/1.5 sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem">
<h1>DermCheck is running</h1>
<p><strong>Research use only. Not a medical device, not for diagnosis.</strong></p>
<p>To label photographs, open <em>3D Slicer</em> with its extension <em>MONAI Label</em>, choose the
module of that name, enter this page's address as <em>MONAI Label server</em>, and press
<em>Next Sample</em>.</p>
<p><a href="info/">What this server offers</a> (JSON) ·
<a href="datastore/">How many photographs are labelled</a> (JSON) ·
<a href="openapi.json">All its requests</a> (OpenAPI)</p>
</body>
</html>
"""
