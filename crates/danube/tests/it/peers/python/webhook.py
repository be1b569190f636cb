"""Verifies a webhook with the library of Standard Webhooks.

Reads {"secret", "headers", "body"} from standard input; prints the payload, or why it isn't good.
"""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

given = json.load(sys.stdin)
try:
    payload = Webhook(given["secret"]).verify(given["body"], given["headers"])
    print(json.dumps({"payload": payload}))
except WebhookVerificationError as error:
    print(json.dumps({"refused": str(error)}))
