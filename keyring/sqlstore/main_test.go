package sqlstore_test

import (
	"fmt"
	"os"
	"testing"
)

// Variables that the tests know; see README.md.
const (
	postgresVariable = "FEDINVITE_POSTGRES"       // the data source name of a PostgreSQL database
	crashVariable    = "FEDINVITE_POSTGRES_CRASH" // a command that kills its server and starts it again
	childVariable    = "FEDINVITE_SQLSTORE_CHILD" // this process is one that a test has started
)

func TestMain(m *testing.M) {
	if task := os.Getenv(childVariable); task != "" {
		if err := runChild(task); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	for _, name := range []string{postgresVariable, crashVariable} {
		if os.Getenv(name) != "" {
			continue
		}
		fmt.Fprintf(os.Stderr, "NOT TESTED: PostgreSQL, because %s is not set; see keyring/sqlstore/README.md\n", name)
		if os.Getenv("CI") == "true" {
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}
