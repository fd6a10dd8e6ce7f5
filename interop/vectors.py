"""Runs the test vectors through Synapse's own code.

    vectors.py DIRECTORY

DIRECTORY is testdata/vectors, whose README tells the format; this script was written from
it. Nothing is started: the functions that Synapse uses for events, signatures and
headers are called directly. What could not be called without a homeserver is not run.

Prints one line for each file, and one for each case that does not agree. DEPARTURES lists
the cases in which Synapse departs, each with its reason: one that agrees is an error too.
NOT_RUN says which cases are not run.
"""

import asyncio
import base64
import hashlib
import json
import logging
import pathlib
import sys
from types import SimpleNamespace

from canonicaljson import encode_canonical_json
from nacl.signing import VerifyKey
from signedjson.key import decode_signing_key_base64, decode_verify_key_bytes
from signedjson.sign import sign_json, verify_signed_json
from unpaddedbase64 import decode_base64, encode_base64

from synapse.api.errors import SynapseError
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS
from synapse.crypto.event_signing import (
    add_hashes_and_signatures,
    check_event_content_hash,
    compute_content_hash,
    compute_event_reference_hash,
    compute_event_signature,
)
from synapse.events import make_event_from_dict
from synapse.events.utils import prune_event, validate_canonicaljson
from synapse.federation.federation_base import event_from_pdu_json
from synapse.federation.transport.server._base import Authenticator, _parse_auth_header
from synapse.util.json import json_decoder

logging.disable(logging.CRITICAL)


class Refused(Exception):
    """What a function under test did not take."""


def refusing(f, *args):
    """Calls f; whatever it raises is a refusal."""
    try:
        return f(*args)
    except Exception as e:
        raise Refused(f"{type(e).__name__}: {e}"[:200]) from e


def want(what, expected, got):
    if expected != got:
        raise AssertionError(f"{what}: want {expected!r}, got {got!r}")


def want_one(name, case, got):
    """Holds a value against a member of the case, and what is as good."""
    if got not in (values := [case[name], *case.get(name + "_or", [])]):
        want(name, values, got)


def parse(text):
    return json_decoder.decode(text)


def canonical(value):
    return encode_canonical_json(value).decode()


def read(case, name):
    """The exact bytes of a member: text, base64 or a description."""
    if name + "_base64" in case:
        return base64.b64decode(case[name + "_base64"])
    if name + "_gen" in case:
        gen = case[name + "_gen"]
        if "countdown_keys" in gen:
            n = gen["countdown_keys"]
            return ("{" + ",".join(f'"k{n - i}":{i}' for i in range(n)) + "}").encode()
        return "".join(part["text"] * part["times"] for part in gen["concat"]).encode()
    return case.get(name, "").encode()


def without(value, *names):
    return {k: v for k, v in value.items() if k not in names}


def signing_key(case):
    algorithm, version = case["key_id"].split(":", 1)
    # The specification's own seed has bits behind its end.
    seed = encode_base64(decode_base64(case["seed"]))
    return decode_signing_key_base64(algorithm, version, seed)


def verify_key(key_id, key):
    return decode_verify_key_bytes(key_id, decode_base64(key["public_key"]))


def expected(case, f):
    """Holds a function against accept, reject or implementation-defined."""
    if case["expect"] == "implementation-defined":
        try:
            refusing(f)
        except Refused:
            pass
        return None
    try:
        result = refusing(f)
    except Refused as e:
        want("result", case["expect"], f"reject ({e})" if case["expect"] != "reject" else "reject")
        return None
    want("result", case["expect"], "accept")
    return result


# One function for each kind of case.


def canonicaljson(case):
    text = read(case, "input")
    if "input_sha256" in case:
        want("SHA-256 of the input", case["input_sha256"], hashlib.sha256(text).hexdigest())

    def strict():
        value = parse(text.decode())
        validate_canonicaljson(value)
        return encode_canonical_json(value)

    def legacy():
        return encode_canonical_json(parse(text.decode()))

    for mode, f in ("strict", strict), ("legacy", legacy):
        try:
            got = {"output": refusing(f)}
        except Refused as e:
            got = {"error": str(e)}
        outcomes = case[mode].get("any_of", [case[mode]])
        if not any(same_output(o, got) for o in outcomes):
            raise AssertionError(f"{mode}: want {str(outcomes)[:200]}, got {str(got)[:200]}")


def same_output(outcome, got):
    if "error" in outcome or "error" in got:
        return "error" in outcome and "error" in got
    if "output" in outcome:
        return outcome["output"].encode() == got["output"]
    return outcome["output_sha256"] == hashlib.sha256(got["output"]).hexdigest()


def sign(case):
    if case.get("expect") == "implementation-defined":
        return
    signed = sign_json(parse(case["object"]), case["server_name"], signing_key(case))
    want("signature", case["signature"], signed["signatures"][case["server_name"]][case["key_id"]])
    objects = [parse(o) for o in [case["signed_object"], *case.get("signed_object_or", [])]]
    if signed not in objects:
        want("signed object", objects[0], signed)
    want("signed bytes", case["signed_bytes"], canonical(without(signed, "signatures", "unsigned")))


def verify(case):
    def f():
        value = parse(read(case, "object").decode())
        (key_id, key), = case["keys"][case["server_name"]].items()
        verify_signed_json(value, case["server_name"], verify_key(key_id, key))

    expected(case, f)


def ed25519(case):
    expected(
        case,
        lambda: VerifyKey(bytes.fromhex(case["public_key_hex"])).verify(
            case["message"].encode(), bytes.fromhex(case["signature_hex"])
        ),
    )


def base64_text(case):
    got = expected(case, lambda: decode_base64(case["input"]))
    if got is not None:
        want("bytes", case["output_hex"], got.hex())


def check_event(case, event, content_hash=None):
    """Holds hashes, ID and redacted form against the case, as far as it has them."""
    if "reference_hash" in case:
        _, digest = compute_event_reference_hash(event)
        want_one("reference_hash", case, encode_base64(digest))
    if "content_hash" in case:
        _, digest = compute_content_hash(event.get_pdu_json(), hashlib.sha256)
        want_one("content_hash", case, encode_base64(digest))
    if "event_id" in case:
        want("event ID", case["event_id"], event.event_id)
    if "redacted_event" in case:
        redacted = without(prune_event(event).get_pdu_json(), "unsigned")
        want_one("redacted_event", case, canonical(redacted))


def event(case):
    version = KNOWN_ROOM_VERSIONS[case["room_version"]]
    value = parse(case["event"])
    add_hashes_and_signatures(version, value, case["server_name"], signing_key(case))
    want("signed event", canonical(parse(case["signed_event"])), canonical(value))
    check_event(case, make_event_from_dict(value, version))


def published(case):
    for entry in case["signatures"]:
        for version in entry["room_versions"]:
            value = parse(case["event"])
            add_hashes_and_signatures(
                KNOWN_ROOM_VERSIONS[version], value, case["server_name"], signing_key(case)
            )
            want("content hash", case["content_hash"], value["hashes"]["sha256"])
            want("signature", entry["signature"], value["signatures"][case["server_name"]][case["key_id"]])


def event_format(case):
    version = KNOWN_ROOM_VERSIONS[case["room_version"]]
    got = expected(case, lambda: event_from_pdu_json(parse(read(case, "event").decode()), version))
    if got is not None:
        check_event(case, got)


def received(case):
    version = KNOWN_ROOM_VERSIONS[case["room_version"]]

    def f():
        got = event_from_pdu_json(parse(read(case, "event").decode()), version)
        signed = prune_event(got).get_pdu_json()
        for server, keys in case["keys"].items():
            for key_id, key in keys.items():
                alone = dict(signed, signatures={server: {key_id: signed["signatures"][server][key_id]}})
                verify_signed_json(alone, server, verify_key(key_id, key))
        return got

    try:
        got = refusing(f)
    except Refused as e:
        if case["expect"] not in ("drop", "implementation-defined"):
            raise AssertionError(f"dropped: {e}") from e
        return
    if case["expect"] == "implementation-defined":
        return
    full = check_event_content_hash(got)
    want("result", case["expect"], "accept_full" if full else "accept_redacted")
    kept = got if full else prune_event(got)
    want("kept", case["kept"], canonical(without(kept.get_pdu_json(), "unsigned")))
    want("event ID", case["event_id"], kept.event_id)


def redaction(case):
    version = KNOWN_ROOM_VERSIONS[case["room_version"]]
    got = make_event_from_dict(parse(case["event"]), version)
    check_event(case, got)
    want("content hash is right", True, check_event_content_hash(got))


def header(case):
    def f():
        if not case["header"].startswith("X-Matrix"):
            raise ValueError("not for X-Matrix")  # Authenticator asks that before
        return _parse_auth_header(case["header"].encode())

    got = expected(case, f)
    if got is not None:
        want("parts", (case["origin"], case["key"], case["sig"], case.get("destination")), got)


def request_signature(case):
    value = {
        "method": case["method"],
        "uri": case["target"],
        "origin": case["origin"],
        "destination": case["destination"],
    }
    if "body" in case:
        value["content"] = parse(case["body"])
    want("signed bytes", case["signed_bytes"], canonical(value))
    signed = sign_json(value, case["origin"], signing_key(case))
    want("signature", case["signature"], signed["signatures"][case["origin"]][case["key_id"]])
    want(
        "header",
        (case["origin"], case["key_id"], case["signature"], case["destination"]),
        _parse_auth_header(case["authorization"].encode()),
    )


class Keys:
    """The keyring of an Authenticator: what a world knows."""

    def __init__(self, keys):
        self.keys = keys

    async def verify_json_for_server(self, server, value, now):
        for key_id in value["signatures"][server]:
            key = self.keys.get(server, {}).get(key_id)
            if key and key.get("valid_until_ts", now) >= now and "expired_ts" not in key:
                verify_signed_json(value, server, verify_key(key_id, key))
                return
        raise SynapseError(401, "no key")


async def nothing(*_):
    return None


def request_check(case, world):
    server = "b.example"
    hs = SimpleNamespace(
        _clock=SimpleNamespace(time_msec=lambda: world["now"]),
        keyring=Keys(world["keys"]),
        server_name=server,
        _is_mine_server_name=lambda name: name == server,
        store=SimpleNamespace(get_destination_retry_timings=nothing),
        federation_domain_whitelist=None,
    )
    request = case["request"]
    headers = [value.encode() for name, value in request["headers"] if name.lower() == "authorization"]
    twisted = SimpleNamespace(
        method=request["method"].encode(),
        uri=request["target"].encode(),
        requestHeaders=SimpleNamespace(getRawHeaders=lambda _: headers),
    )

    def f():
        body = read(request, "body")
        content = parse(body.decode()) if body else None
        return asyncio.run(Authenticator.authenticate_request(hs, twisted, content))

    try:
        got = ("accept", refusing(f))
    except Refused as e:
        got = ("refuse", str(e))
    for outcome in case["expect"]:
        if outcome["result"] == got[0] and outcome.get("origin", got[1]) == got[1]:
            return
    raise AssertionError(f"want one of {case['expect']}, got {got}")


def invite_in(case, world):
    """The event that is to be answered with, where there is one.

    A refusal is right where the case allows it beside."""
    for outcome in case["expect"]:
        if "event" not in outcome:
            continue
        body = parse(read(case["request"], "body").decode())
        version = KNOWN_ROOM_VERSIONS[case["room_version"]]
        value = body if "/v1/invite/" in case["request"]["target"] else body["event"]
        try:
            got = refusing(event_from_pdu_json, value, version)
        except Refused:
            if any(o["result"] == "refuse" for o in case["expect"]):
                return
            raise
        stored = outcome["stored"]
        want("event ID", stored["event_id"], got.event_id)
        want("redacted", stored.get("redacted", False), not check_event_content_hash(got))
        if stored.get("redacted"):
            got = prune_event(got)
        answer = without(got.get_pdu_json(), "unsigned")
        server = stored["invitee"].split(":", 1)[1]
        key = world["servers"][server]
        answer.get("signatures", {}).pop(server, None)
        signatures = compute_event_signature(version, answer, server, signing_key(key))
        answer["signatures"] = signatures
        want("event", outcome["event"], canonical(answer))
        sender = got.sender.split(":", 1)[1]
        for key_id, known in world["keys"][sender].items():
            if key_id in signatures.get(sender, {}):
                verify_signed_json(prune_event(got).get_pdu_json(), sender, verify_key(key_id, known))


def draft(case):
    version = KNOWN_ROOM_VERSIONS[case["room_version"]]
    made = case["made"]
    value = without(parse(made["event"]), "hashes", "signatures")
    want("content", parse(case["content"]) | {"membership": "invite"}, value["content"])
    add_hashes_and_signatures(version, value, case["server_name"], signing_key(case))
    want("event", made["event"], canonical(value))
    want("event ID", made["event_id"], event_from_pdu_json(value, version).event_id)
    for text in case["invite_room_state"]:
        entry = event_from_pdu_json(parse(text), version)
        want("content hash is right", True, check_event_content_hash(entry))
    want("body", {"event": value, "room_version": case["room_version"],
                  "invite_room_state": [parse(s) for s in case["invite_room_state"]]}, parse(made["body_v2"]))


def reply(case):
    version = KNOWN_ROOM_VERSIONS[case["room_version"]]
    merged = event_from_pdu_json(parse(case["merged"]), version)
    sent = event_from_pdu_json(parse(case["sent"]), version)
    want("event ID", sent.event_id, merged.event_id)
    signed = prune_event(merged).get_pdu_json()
    for server, keys in case["keys"].items():
        for key_id, key in keys.items():
            if key_id in signed["signatures"].get(server, {}):
                verify_signed_json(signed, server, verify_key(key_id, key))
    want("signatures", sorted({*sent.signatures.as_dict(), case["invited_server"]}), sorted(signed["signatures"]))


# Of these kinds, only the cases with a result can be held against Synapse's functions.
PARTIAL = {
    invite_in: lambda case: any("event" in outcome for outcome in case["expect"]),
    draft: lambda case: "made" in case,
    reply: lambda case: "merged" in case,
}

KINDS = {
    "canonicaljson/canonicaljson": canonicaljson,
    "signatures/sign": sign,
    "signatures/verify": verify,
    "signatures/ed25519": ed25519,
    "signatures/base64": base64_text,
    "events/published": published,
    "events/format": event_format,
    "events/receive": received,
    "redactions/redactions": redaction,
    "xmatrix/parse": header,
    "xmatrix/sign": request_signature,
    "xmatrix/verify": request_check,
    "invites-out/drafts": draft,
    "invites-out/replies": reply,
}

# Where Synapse departs, and why: name of the case -> reason.
ELSEWHERE = "an authorization rule, which Synapse looks at when it has the room's state"
LATER = "the functions that make an event do not look at its hashes; what checks them does"
TOKENS = "the header is split at commas and equals signs, with no other white space than before and after commas"
ONE_SPELLING = "the scheme is taken as the specification writes it only"
SIG = "sig is the name of the parameter, as in the specification's example"
QUOTES = "a quoted value is all between its first character and its last"
UNQUOTED = "a value without quotes is all up to the comma"
SHAPE = "the name's characters are looked at, not its length"
UNCHECKED = "a destination is compared with the server's name, which does the same"
ONE_NAME = "a Synapse has one name"

DEPARTURES: dict[str, dict[str, str]] = {
    "events/format": {
        "create_nonempty_state_key/v12": ELSEWHERE,
        "create_no_state_key/v12": ELSEWHERE,
        "hash_empty/v1": LATER,
        "hash_empty/v10": LATER,
    },
    "xmatrix/parse": {
        "scheme in lower case": ONE_SPELLING,
        "comma at the end": TOKENS,
        "comma after the scheme": TOKENS,
        "empty elements": TOKENS,
        "spaces around the equals sign": TOKENS,
        "signature for sig": SIG,
        "letter outside of ASCII without quotes": UNQUOTED,
        "quote that does not end": QUOTES,
        "backslash at the end": QUOTES,
        "origin of 300 letters": SHAPE,
        "destination is no server name": UNCHECKED,
    },
    "xmatrix/verify": {
        "valid, for another name of ours": ONE_NAME,
    },
}

# What is not run: cases whose names hold one of these.
NOT_RUN = {
    "canonicaljson/canonicaljson": ("dup",),
    "events/format": ("dup", "unsigned", "origin_null"),
    "events/receive": ("dup",),
    "signatures/verify": ("dup",),
    "xmatrix/parse": ("unknown parameter", "twice"),
    "invites-in/accepted": ("10 ",),
}


def kind_of(name):
    if name.startswith("events/v"):
        return event
    if name.startswith("invites-in/"):
        return invite_in
    return KINDS.get(name)  # None: not run


def run(name, file):
    """Returns how many cases were run, and what is wrong."""
    f = kind_of(name)
    count, wrong = 0, []
    if f is None:
        return 0, []
    departures = dict(DEPARTURES.get(name, {}))
    for case in file["cases"]:
        if any(part in case["name"] for part in NOT_RUN.get(name, ())):
            continue
        if f in PARTIAL and not PARTIAL[f](case):
            continue
        count += 1
        reason = departures.pop(case["name"], None)
        worlds = file.get("worlds", {})
        args = (case, worlds[case["world"]]) if "world" in case else (case,)
        try:
            f(*args)
        except Exception as e:
            if reason is None:
                wrong.append(f"{name}: {case['name']}: {type(e).__name__}: {e}")
        else:
            if reason is not None:
                wrong.append(f"{name}: {case['name']}: agrees, but is listed: {reason}")
    wrong += [f"{name}: {left}: listed, but there is no such case" for left in departures]
    return count, wrong


def main(directory):
    root = pathlib.Path(directory)
    manifest = json.loads((root / "manifest.json").read_text())
    failed = []
    for entry in manifest["files"]:
        text = (root / entry["path"]).read_bytes()
        want("SHA-256 of " + entry["path"], entry["sha256"], hashlib.sha256(text).hexdigest())
        file = json.loads(text)
        name = file["kind"]
        count, wrong = run(name, file)
        departures = len(DEPARTURES.get(name, {}))
        print(f"{name}: {count} of {entry['cases']} cases run, {departures} departures, {len(wrong)} wrong")
        failed += wrong
    for line in failed:
        print("WRONG", line[:600])
    sys.exit(1 if failed else 0)


main(*sys.argv[1:])
