package fedinvite

import (
	"errors"
	"testing"
)

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
