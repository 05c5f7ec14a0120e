"""Asks the stores of a running application: `Client`, and `AsyncClient` for asyncio.

```python
with Client("http://127.0.0.1:8080", topology) as client:
    client.store(totals).get("ann")
```

May touch sockets; knows no Kafka.
"""

from processor.client.codecs import Counted, Entry, StoreInfo
from processor.client.views import (
    AsyncClient,
    AsyncStore,
    AsyncWindows,
    Client,
    Store,
    Windows,
)
from processor.errors import QueryError, StoreUnavailable

__all__ = [
    "AsyncClient",
    "AsyncStore",
    "AsyncWindows",
    "Client",
    "Counted",
    "Entry",
    "QueryError",
    "Store",
    "StoreInfo",
    "StoreUnavailable",
    "Windows",
]
