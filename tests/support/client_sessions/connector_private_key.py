"""binance-connector, whose owner signs with a private key."""

import json
import os
import sys

from binance.spot import Spot


def main() -> None:
    client = Spot(
        api_key=os.environ["SIGNING_KEY"], private_key=os.environ["PRIVATE_KEY"], base_url=os.environ["ADDRESS"]
    )
    placed = client.new_order("AAPLUSD", "BUY", "LIMIT", quantity=1, price=200, timeInForce="GTC")
    canceled = client.cancel_order("AAPLUSD", orderId=placed["orderId"])
    sys.stdout.write(json.dumps({"canceled": canceled["status"]}))


if __name__ == "__main__":
    main()
