"""Steps of a round, each a function of a list of client URLs; what every client here shares.

Usage of each round: CLIENT_round.py URL,URL,... STEP... Prints the name of each step that held
and ends with an exception at the first that did not. A line `? kill 0` or `? start 0` asks the
reader for the death or the return of a member; the answer is a line `done`. Where members speak
TLS, the variables CA_FILE, CERT_FILE and KEY_FILE name what a client needs; where there are
users, USER_NAME and USER_PASSWORD who it is.
"""

import os
import sys
from urllib.parse import urlsplit


def ask(wish):
    print("?", wish, flush=True)
    assert sys.stdin.readline() == "done\n", wish


def host_and_port(url):
    parts = urlsplit(url)
    return parts.hostname, parts.port


def tls_files():
    """What etcd3 and etcd3gw take for TLS; nothing where there is none."""
    if "CA_FILE" not in os.environ:
        return {}
    names = {"ca_cert": "CA_FILE", "cert_cert": "CERT_FILE", "cert_key": "KEY_FILE"}
    return {name: os.environ[variable] for name, variable in names.items()}


def user():
    """A name and a password; nothing where there are no users."""
    return os.environ.get("USER_NAME"), os.environ.get("USER_PASSWORD")


def run(steps):
    """Walks through the steps named on the command line; these are functions by name."""
    urls = sys.argv[1].split(",")
    for name in sys.argv[2:]:
        steps[name](urls)
        print(name, flush=True)
