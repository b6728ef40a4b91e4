"""Which requests are not answered, whoever sends them."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address

import pytest

from aisquad_core.monitoring.guard import Head, own_hosts, refuse
from aisquad_core.monitoring.peer import End

OWN = End(IPv4Address("127.0.0.1"), 8080)
GOOD = Head(method="GET", hosts=["127.0.0.1:8080"], origins=[], fetch_sites=[], has_body=False)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080"])
def test_a_request_to_this_very_host_and_port_passes(host: str) -> None:
    assert refuse(replace(GOOD, hosts=[host]), OWN) is None


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["127.0.0.1"],
        ["127.0.0.1:8081"],
        ["127.0.0.1.example.org:8080"],
        ["rebound.example.org:8080"],
        ["localhost.:8080"],
        ["[::2]:8080"],
        ["192.0.2.7:8080"],
        ["0.0.0.0:8080"],
        ["127.0.0.1:8080", "127.0.0.1:8080"],
        ["127.0.0.1:8080 "],
    ],
)
def test_another_host_header_is_refused(hosts: list[str]) -> None:
    answer = refuse(replace(GOOD, hosts=hosts), OWN)
    assert answer is not None
    assert answer.status == HTTPStatus.FORBIDDEN


def test_the_hosts_are_its_address_the_machine_and_loopback_on_that_port_alone() -> None:
    here = socket.gethostname().lower()
    always = {"localhost:9", "127.0.0.1:9", "[::1]:9", f"{here}:9"}
    assert own_hosts(End(IPv6Address("::1"), 9)) == always
    assert own_hosts(End(IPv4Address("10.1.2.3"), 9)) == always | {"10.1.2.3:9"}
    assert own_hosts(End(IPv6Address("2001:db8::7"), 9)) == always | {"[2001:db8::7]:9"}
    assert own_hosts(End(IPv4Address("127.0.0.1"), 80)) >= {"127.0.0.1", "localhost:80"}


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get"])
def test_every_method_but_get_is_refused_and_told_which_one_is_allowed(method: str) -> None:
    answer = refuse(replace(GOOD, method=method), OWN)
    assert answer is not None
    assert answer.status == HTTPStatus.METHOD_NOT_ALLOWED
    assert answer.headers["Allow"] == "GET"


def test_a_body_is_refused() -> None:
    answer = refuse(replace(GOOD, has_body=True), OWN)
    assert answer is not None
    assert answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    assert json.loads(answer.body)["detail"] == "a request here has no body"


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.org",
        "null",
        "http://127.0.0.1:8081",
        "http://localhost:8080",
        "https://127.0.0.1:8080",
    ],
)
def test_a_page_of_another_origin_is_refused(origin: str) -> None:
    answer = refuse(replace(GOOD, origins=[origin]), OWN)
    assert answer is not None
    assert answer.status == HTTPStatus.FORBIDDEN


def test_its_own_pages_pass() -> None:
    own = replace(GOOD, origins=["http://127.0.0.1:8080"], fetch_sites=["same-origin"])
    assert refuse(own, OWN) is None


@pytest.mark.parametrize("site", ["cross-site", "same-site", ""])
def test_a_page_of_another_site_is_refused(site: str) -> None:
    assert refuse(replace(GOOD, fetch_sites=["none"]), OWN) is None
    answer = refuse(replace(GOOD, fetch_sites=[site]), OWN)
    assert answer is not None
    assert answer.status == HTTPStatus.FORBIDDEN
