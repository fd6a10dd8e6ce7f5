module github.com/seed-0a46cb1a/fedinvite/interop

go 1.26.0

replace github.com/seed-0a46cb1a/fedinvite => ../

require github.com/seed-0a46cb1a/fedinvite v0.0.0-00010101000000-000000000000

require (
	github.com/tidwall/gjson v1.20.1 // indirect
	github.com/tidwall/match v1.1.1 // indirect
	github.com/tidwall/pretty v1.2.0 // indirect
	github.com/tidwall/sjson v1.2.7 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
)
