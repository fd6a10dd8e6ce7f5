package fedinvite_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// versionTable reads testdata/roomversions.txt: its columns, and the fields of
// each version's row by column.
func versionTable(t *testing.T) (columns []string, rows []map[string]string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "roomversions.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
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
		for i, c := range columns {
			row[c] = fields[i]
		}
		rows = append(rows, row)
	}
	return columns, rows
}

func word(t *testing.T, name string, value any) string {
	t.Helper()
	switch value := value.(type) {
	case bool:
		if value {
			return "yes"
		}
		return "no"
	case int64:
		switch value {
		case math.MaxInt64:
			return "2^63-1"
		case 1<<53 - 1:
			return "2^53-1"
		}
	case fedinvite.EventIDFormat:
		return map[fedinvite.EventIDFormat]string{
			fedinvite.EventIDServer: "server", fedinvite.EventIDBase64: "base64", fedinvite.EventIDURLSafe: "urlsafe",
		}[value]
	case fedinvite.PowerLevelFormat:
		return map[fedinvite.PowerLevelFormat]string{
			fedinvite.PowerLevelLoose: "loose", fedinvite.PowerLevelStrings: "strings", fedinvite.PowerLevelIntegers: "integers",
		}[value]
	case fedinvite.RoomVersion:
		return string(value)
	}
	if name == "Auth.MemberRule" || name == "Auth.InviteRule" {
		return fmt.Sprint(value)
	}
	t.Errorf("testdata/roomversions.txt has no word for %s = %v", name, value)
	return "?"
}

// flatten writes the fields of a Rules, or of a part of it, in the words of the table.
func flatten(t *testing.T, v reflect.Value, prefix string, row map[string]string) (columns []string) {
	t.Helper()
	for field, value := range v.Fields() {
		name := prefix + field.Name
		if value.Kind() == reflect.Struct {
			columns = append(columns, flatten(t, value, name+".", row)...)
			continue
		}
		columns = append(columns, name)
		row[name] = word(t, name, value.Interface())
	}
	return columns
}

// flattenRules returns the columns that the table must have, and the row of v.
func flattenRules(t *testing.T, v fedinvite.RoomVersion) (columns []string, row map[string]string) {
	t.Helper()
	row = map[string]string{}
	return flatten(t, reflect.ValueOf(rulesOf(t, v)), "", row), row
}

func TestRoomVersionsBehaveAsTheSpecificationSays(t *testing.T) {
	columns, rows := versionTable(t)
	wantColumns, _ := flattenRules(t, fedinvite.RoomV1)
	if diff := cmp.Diff(wantColumns, columns); diff != "" {
		t.Fatalf("fields of Rules and columns of testdata/roomversions.txt: -fields +columns\n%s", diff)
	}
	var versions []fedinvite.RoomVersion
	for _, want := range rows {
		v := fedinvite.RoomVersion(want["Version"])
		versions = append(versions, v)
		_, got := flattenRules(t, v)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("room version %s: -want +got\n%s", v, diff)
		}
	}
	if diff := cmp.Diff(versions, fedinvite.RoomVersions()); diff != "" {
		t.Errorf("room versions: -want +got\n%s", diff)
	}
}

func TestRoomVersionConstantsAreTheVersionNames(t *testing.T) {
	want := []fedinvite.RoomVersion{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"}
	got := []fedinvite.RoomVersion{
		fedinvite.RoomV1, fedinvite.RoomV2, fedinvite.RoomV3, fedinvite.RoomV4, fedinvite.RoomV5, fedinvite.RoomV6,
		fedinvite.RoomV7, fedinvite.RoomV8, fedinvite.RoomV9, fedinvite.RoomV10, fedinvite.RoomV11, fedinvite.RoomV12,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestUnknownRoomVersionIsAnErrorNeverADefault(t *testing.T) {
	for _, v := range []fedinvite.RoomVersion{"", "0", "01", "13", "99", "1 ", " 1", "1.0", "V1", "org.x", "org.matrix.msc4014", "１"} {
		rules, err := v.Rules()
		if !errors.Is(err, fedinvite.ErrRoomVersion) {
			t.Errorf("%q: error %v, want ErrRoomVersion", v, err)
		}
		if rules != (fedinvite.Rules{}) {
			t.Errorf("%q: rules %+v", v, rules)
		}
	}
}

func TestUnknownRoomVersionIsNotQuotedAtLength(t *testing.T) {
	_, err := fedinvite.RoomVersion(strings.Repeat("x", 1<<16)).Rules()
	if got := len(err.Error()); got > 512 {
		t.Errorf("the error has %d bytes", got)
	}
}

// The list of functions is compared with the source in imports_test.go.
var functionsOfRules = map[string]func(t *testing.T, rules fedinvite.Rules) error{
	"ParseEvent": func(t *testing.T, rules fedinvite.Rules) error {
		_, err := fedinvite.ParseEvent(signedEvent(t, fedinvite.RoomV11, nil), rules)
		return err
	},
	"ParseStored": func(t *testing.T, rules fedinvite.Rules) error {
		_, err := fedinvite.ParseStored(signedEvent(t, fedinvite.RoomV11, nil), rules)
		return err
	},
	"SignEventJSON": func(t *testing.T, rules fedinvite.Rules) error {
		_, err := fedinvite.SignEventJSON(t.Context(), []byte(`{}`), rules, invitetest.Signer("a.example"))
		return err
	},
	"NewLeave": func(t *testing.T, rules fedinvite.Rules) error {
		_, err := fedinvite.NewLeave(t.Context(), inviteDraft(fedinvite.RoomV11), rules, invitetest.Signer("a.example"))
		return err
	},
	"NewInvite": func(t *testing.T, rules fedinvite.Rules) error {
		_, err := fedinvite.NewInvite(t.Context(), inviteDraft(fedinvite.RoomV11), rules, invitetest.Signer("a.example"))
		return err
	},
}

func TestZeroRulesAreRefusedByEveryFunction(t *testing.T) {
	for name, call := range functionsOfRules {
		t.Run(name, func(t *testing.T) {
			if err := call(t, rulesOf(t, fedinvite.RoomV11)); err != nil {
				t.Fatalf("with the rules of room version 11: %v", err)
			}
			for what, edit := range map[string]func(*fedinvite.Rules){
				"zero":                   func(r *fedinvite.Rules) { *r = fedinvite.Rules{} },
				"no version":             func(r *fedinvite.Rules) { r.Version = "" },
				"no event ID format":     func(r *fedinvite.Rules) { r.EventIDs = 0 },
				"unknown event IDs":      func(r *fedinvite.Rules) { r.EventIDs = fedinvite.EventIDURLSafe + 1 },
				"no greatest depth":      func(r *fedinvite.Rules) { r.MaxDepth = 0 },
				"negative maximum depth": func(r *fedinvite.Rules) { r.MaxDepth = -1 },
			} {
				rules := rulesOf(t, fedinvite.RoomV11)
				edit(&rules)
				if err := call(t, rules); !errors.Is(err, fedinvite.ErrRoomVersion) {
					t.Errorf("%s: error %v, want ErrRoomVersion", what, err)
				}
			}
		})
	}
}

func TestRoomVersionsReturnsAFreshSlice(t *testing.T) {
	want := fedinvite.RoomVersions()
	changed := fedinvite.RoomVersions()
	for i := range changed {
		changed[i] = "changed"
	}
	_ = append(changed[:3], "appended")
	if diff := cmp.Diff(want, fedinvite.RoomVersions()); diff != "" {
		t.Errorf("-before +after\n%s", diff)
	}
}

func TestRulesAreComparable(t *testing.T) {
	seen := map[fedinvite.Rules]fedinvite.RoomVersion{}
	for _, v := range fedinvite.RoomVersions() {
		rules := rulesOf(t, v)
		if rules != rulesOf(t, v) {
			t.Errorf("room version %s: two calls differ", v)
		}
		if other, ok := seen[rules]; ok {
			t.Errorf("room versions %s and %s have equal rules", v, other)
		}
		seen[rules] = v
	}
}

func TestEditingRulesDoesNotChangeTheVersion(t *testing.T) {
	want := rulesOf(t, fedinvite.RoomV10)
	edited := want
	edited.Redaction.KeepAllow = false
	edited.Auth.Knock = false
	if got := rulesOf(t, fedinvite.RoomV10); got != want {
		t.Errorf("the rules of room version 10 changed: %+v", got)
	}
}

// A custom version: room version 10 whose join rules lose allow when redacted,
// as before room version 8, and whose greatest depth is 20.
func TestCustomRoomVersionIsACopyThatWasEdited(t *testing.T) {
	rules := rulesOf(t, fedinvite.RoomV10)
	rules.Version = "org.example.custom"
	rules.Redaction.KeepAllow = false
	rules.MaxDepth = 20
	raw := signedEvent(t, fedinvite.RoomV10, func(m members) {
		m["type"], m["state_key"] = `"m.room.join_rules"`, `""`
		m["content"] = `{"allow":[],"join_rule":"restricted"}`
		m["depth"] = "20"
	})
	e, err := fedinvite.ParseEvent(raw, rules)
	if err != nil {
		t.Fatal(err)
	}
	if e.Rules() != rules {
		t.Errorf("rules %+v, want %+v", e.Rules(), rules)
	}
	if diff := cmp.Diff(`{"join_rule":"restricted"}`, string(e.Redacted().Content())); diff != "" {
		t.Errorf("redacted content: -want +got\n%s", diff)
	}
	official, err := fedinvite.ParseEvent(raw, rulesOf(t, fedinvite.RoomV10))
	if err != nil {
		t.Fatal(err)
	}
	if official.ID() == e.ID() {
		t.Error("the event has the ID that the official version computes")
	}
	rules.MaxDepth = 19
	if _, err := fedinvite.ParseEvent(raw, rules); !errors.Is(err, fedinvite.ErrBadJSON) {
		t.Errorf("depth 20 of at most 19: error %v, want ErrBadJSON", err)
	}
}

func TestRulesHaveNoReferences(t *testing.T) {
	var walk func(name string, typ reflect.Type)
	walk = func(name string, typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Struct:
			for f := range typ.Fields() {
				walk(name+"."+f.Name, f.Type)
			}
		case reflect.Bool, reflect.String, reflect.Int8, reflect.Uint8, reflect.Int64:
		default:
			t.Errorf("%s is a %s", name, typ.Kind())
		}
	}
	walk("Rules", reflect.TypeFor[fedinvite.Rules]())
}
