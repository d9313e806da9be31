"""The Python client with small pieces and a connection that is cut in every third upload request, before it or before its answer."""
import itertools

import fedlora_client as client
import requests

client.PIECE = 3000
request, count = requests.Session.request, itertools.count(1)


def cut(self, method, *where, **content):
    n = next(count) if method == "PUT" else 0
    if n % 6 == 3:
        print("cut before a request", flush=True)
        raise ConnectionResetError("cut before the request")
    answer = request(self, method, *where, **content)
    if n and n % 6 == 0:
        print("cut before an answer", flush=True)
        raise ConnectionResetError("cut before the answer")
    return answer


requests.Session.request = cut
client.main()
