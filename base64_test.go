package fedinvite

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestBase64Vectors(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "signing.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Base64 []struct{ Input, Recommended, Note string }
	}
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Base64) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range vectors.Base64 {
		got, err := DecodeBase64(c.Input)
		switch c.Recommended {
		case "error":
			if !errors.Is(err, ErrBadJSON) || got != nil {
				t.Errorf("%q (%s): %x, error %v, want ErrBadJSON", c.Input, c.Note, got, err)
			}
		case "implementation-defined": // see TestBase64ThatIsNeitherPaddedNorUnpaddedIsRefused
		default:
			if err != nil || hex.EncodeToString(got) != c.Recommended {
				t.Errorf("%q (%s): %x, error %v, want %s", c.Input, c.Note, got, err, c.Recommended)
			}
		}
	}
}

func TestBase64ThatIsNeitherPaddedNorUnpaddedIsRefused(t *testing.T) {
	for _, s := range []string{
		"=", "==", "===", "====", "Z===", "Z=", "Zg=", "Zm8==", "Zm9v=", "Zm9v==", "Zm9v====", "Zg==Zg==", "=Zg=", "Z=g=",
		"Zm9v\r", "\nZm9v", "Zm\n9v", "Z\ng", "Zg=\n=", "Zg==\n", "Zm 9v", "Zm9v\t", "Zm9v\x00", "Zm9v\u00a0", "Zm9vé", "\xff\xff\xff\xff",
		"-_+/", "+-==", "Zm9v,", "Zm9v.", "Zm9v%3D", "A", "AAAAA",
	} {
		if got, err := DecodeBase64(s); !errors.Is(err, ErrBadJSON) || got != nil {
			t.Errorf("%q: %x, error %v, want ErrBadJSON", s, got, err)
		}
	}
}

func TestBase64IsWrittenUnpaddedAndStandard(t *testing.T) {
	for want, text := range map[string]string{
		"": "", "f": "Zg", "fo": "Zm8", "foo": "Zm9v", "foob": "Zm9vYg", "fooba": "Zm9vYmE", "foobar": "Zm9vYmFy", "\xfb\xff\xbf": "+/+/",
	} {
		if got := encodeBase64([]byte(want)); got != text {
			t.Errorf("%q: %q, want %q", want, got, text)
		}
		if got, err := DecodeBase64(text); err != nil || string(got) != want {
			t.Errorf("%q: %q, error %v, want %q", text, got, err, want)
		}
	}
}
