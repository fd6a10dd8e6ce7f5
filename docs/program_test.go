package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The blocks of receive.md, pasted one after the other as the page says, are a program: the
// first main with main.go and its test, the second with invites.go too.
func TestThePageIsAProgram(t *testing.T) {
	t.Parallel()
	var files, mains []string
	for _, b := range blocksOf(t, "receive.md") {
		switch {
		case b.language != "go":
		case strings.HasPrefix(b.text, packageMain):
			files = append(files, b.text)
		case strings.HasPrefix(b.text, funcMain):
			mains = append(mains, b.text)
			if len(mains) == 1 {
				files[len(files)-1] += "\n" + b.text
			}
		default:
			files[len(files)-1] += "\n" + b.text
		}
	}
	if len(files) != 3 || len(mains) != 2 {
		t.Fatalf("%d files and %d times main, want 3 and 2", len(files), len(mains))
	}
	first, _, _ := strings.Cut(mains[0], "\n}\n")
	second := strings.Replace(files[0], first+"\n}\n", mains[1], 1)
	for name, texts := range map[string]map[string]string{
		"the beginning": {"main.go": files[0], "main_test.go": files[1]},
		"all of it":     {"main.go": second, "main_test.go": files[1], "invites.go": files[2]},
	} {
		args := []string{"vet"}
		dir := t.TempDir()
		for file, text := range texts {
			path := filepath.Join(dir, file)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, path)
		}
		if output, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, output)
		}
	}
}
