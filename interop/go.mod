module github.com/seed-0a46cb1a/fedinvite/interop

go 1.26
