package docs_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables that are made of other files")

// behaviours are the columns of the golden table in words, each with the page and section
// of the specification where it begins.
var behaviours = []struct{ column, words, link string }{
	{"EventIDs", "event IDs", "v4/#event-ids"},
	{"StrictJSON", "strict canonical JSON", "v6/#canonical-json"},
	{"EnforceKeyValidity", "keys must have been valid at the event's time", "v5/#signing-key-validity-period"},
	{"RoomIDIsCreateEvent", "the room ID is the create event's", "v12/#event-format-1"},
	{"AuthorisingServerSigns", "the authorising user's server signs", "v8/#authorisation-rules"},
	{"MaxDepth", "greatest depth", "v6/#event-format"},
	{"Redaction.KeepOrigin", "redaction keeps `origin`, `membership`, `prev_state`", "v11/#redactions"},
	{"Redaction.KeepAliases", "… `aliases`", "v6/#redactions"},
	{"Redaction.KeepAllow", "… `allow` of join rules", "v8/#redactions"},
	{"Redaction.KeepAuthorisedVia", "… `join_authorised_via_users_server`", "v9/#redactions"},
	{"Redaction.KeepThirdParty", "… `third_party_invite.signed`", "v11/#redactions"},
	{"Redaction.KeepCreate", "… all of the create event's content", "v11/#redactions"},
	{"Redaction.KeepInvite", "… `invite` of power levels", "v11/#redactions"},
	{"Redaction.KeepRedacts", "… `redacts` in the content", "v11/#redactions"},
	{"Auth.PowerLevels", "power levels", "v10/#values-in-mroompower_levels-events-must-be-integers"},
	{"Auth.CreateInAuthEvents", "`auth_events` name the create event", "v12/#authorisation-rules"},
	{"Auth.CreatorIsSender", "the creator is the create event's sender", "v11/#remove-the-creator-property-of-mroomcreate-events"},
	{"Auth.PrivilegedCreators", "creators stand above all power levels", "v12/#authorisation-rules"},
	{"Auth.Knock", "knocking", "v7/#authorisation-rules"},
	{"Auth.Restricted", "restricted rooms", "v8/#authorisation-rules"},
	{"Auth.KnockRestricted", "restricted rooms that can be knocked on", "v10/#authorisation-rules"},
	{"Auth.MemberRule", "rule for `m.room.member`", "v12/#authorisation-rules"},
	{"Auth.InviteRule", "its part for invites", "v8/#authorisation-rules"},
}

// goldenTable reads testdata/roomversions.txt: a row for each version, by column.
func goldenTable(t *testing.T) (rows []map[string]string) {
	t.Helper()
	var columns []string
	for line := range strings.Lines(readFile(t, "../testdata/roomversions.txt")) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || strings.HasPrefix(line, "#"):
			continue
		case columns == nil:
			columns = fields
			continue
		case len(fields) != len(columns):
			t.Fatalf("row %s has %d fields, want %d", fields[0], len(fields), len(columns))
		}
		row := map[string]string{}
		for i, column := range columns {
			row[column] = fields[i]
		}
		rows = append(rows, row)
	}
	if len(columns) != len(behaviours)+1 {
		t.Errorf("the table has %d columns beside Version, the page %d rows", len(columns)-1, len(behaviours))
	}
	return rows
}

// versionTable writes the golden table for the page: a row for each behaviour.
func versionTable(t *testing.T) string {
	t.Helper()
	rows := goldenTable(t)
	var b strings.Builder
	b.WriteString("| |")
	for _, row := range rows {
		v := row["Version"]
		fmt.Fprintf(&b, " [%s](https://spec.matrix.org/v1.19/rooms/v%s/) |", v, v)
	}
	b.WriteString("\n|---|" + strings.Repeat(":-:|", len(rows)) + "\n")
	for _, behaviour := range behaviours {
		fmt.Fprintf(&b, "| [%s](https://spec.matrix.org/v1.19/rooms/%s) |", behaviour.words, behaviour.link)
		for _, row := range rows {
			cell, ok := row[behaviour.column]
			if !ok {
				t.Fatalf("no column %s", behaviour.column)
			}
			switch cell {
			case "no":
				cell = ""
			case "2^63-1", "2^53-1":
				cell = strings.Replace(cell, "-", "−", 1)
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// The table of the page is that of testdata/roomversions.txt. With -update it is written.
func TestRoomVersionTable(t *testing.T) {
	holdTable(t, "room-versions.md", "versions", versionTable(t))
}

// holdTable compares, or with -update writes, the part of a page between two comments.
func holdTable(t *testing.T, page, name, want string) {
	t.Helper()
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->\n"
	text := readFile(t, page)
	before, rest, ok := strings.Cut(text, begin)
	got, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no part %q", page, name)
	}
	if got == want {
		return
	}
	if !*update {
		t.Errorf("%s: the part %q must be, by go test ./docs -update:\n%s", page, name, want)
		return
	}
	if err := os.WriteFile(page, []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
