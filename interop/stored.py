"""Prints a membership event that Synapse has stored for a user and a room.

    stored.py DATABASE ROOM_ID USER_ID MEMBERSHIP < KEYS

The event is read from the SQLite database as it stands, and its signatures are
verified by Synapse's own code: there has to be one of each server in KEYS, a
JSON object of the form {server: {key identifier: public key}}.
"""

import json
import sqlite3
import sys

from signedjson.key import decode_verify_key_bytes
from signedjson.sign import SignatureVerifyException, verify_signed_json
from unpaddedbase64 import decode_base64

from synapse.api.room_versions import KNOWN_ROOM_VERSIONS
from synapse.crypto.event_signing import check_event_content_hash
from synapse.events import make_event_from_dict
from synapse.events.utils import prune_event

QUERY = """
    SELECT event_id, room_version, json
    FROM room_memberships JOIN rooms USING (room_id) JOIN event_json USING (event_id)
    WHERE room_memberships.room_id = ? AND user_id = ? AND membership = ?
"""


def main(database: str, room_id: str, user_id: str, membership: str) -> None:
    servers = json.load(sys.stdin)
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    rows = connection.execute(QUERY, (room_id, user_id, membership)).fetchall()
    if len(rows) != 1:
        sys.exit(f"{len(rows)} events of {user_id} in {room_id} with membership {membership}")
    event_id, room_version, text = rows[0]

    event = make_event_from_dict(json.loads(text), KNOWN_ROOM_VERSIONS[room_version])
    if event.event_id != event_id:
        sys.exit(f"the event's identifier is {event.event_id}, not {event_id}")
    if not check_event_content_hash(event):
        sys.exit("the content hash is wrong")
    signed = prune_event(event).get_pdu_json()
    for server, keys in servers.items():
        signatures = signed["signatures"].get(server, {})
        if not signatures:
            sys.exit(f"no signature of {server}: {signed['signatures']}")
        for key_id, signature in signatures.items():
            if key_id not in keys:
                sys.exit(f"{server} has signed with {key_id}, but publishes {list(keys)}")
            key = decode_verify_key_bytes(key_id, decode_base64(keys[key_id]))
            alone = dict(signed, signatures={server: {key_id: signature}})
            try:
                verify_signed_json(alone, server, key)
            except SignatureVerifyException as e:
                sys.exit(f"the signature of {server} with {key_id} is wrong: {e}")
    print(json.dumps({"event_id": event_id, "event": event.get_pdu_json()}))


main(*sys.argv[1:])
