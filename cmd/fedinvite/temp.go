package main

import (
	"os"
	"path/filepath"
	"time"
)

// What a disk makes or removes appears or goes whole, by a single link or rename: it is
// put together, and taken apart, in a fresh directory below DIR/tmp.

// maxTempAge is how long a process may take over that; what is older is a dead one's.
const maxTempAge = time.Hour

func (d *disk) tmp() string { return filepath.Join(d.dir, "tmp") }

// withTemp lends a name in a fresh directory.
func (d *disk) withTemp(do func(name string) error) error {
	dir, err := os.MkdirTemp(d.tmp(), "")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // else sweep does it
	return do(filepath.Join(dir, "x"))
}

// createFile makes a file that is not there yet; else the error is [fs.ErrExist].
func (d *disk) createFile(name string, data []byte) error {
	return d.place(name, data, os.Link)
}

// replaceFile makes a file, whether it is there or not.
func (d *disk) replaceFile(name string, data []byte) error {
	return d.place(name, data, os.Rename)
}

func (d *disk) place(name string, data []byte, move func(from, to string) error) error {
	return d.withTemp(func(temp string) error {
		if err := writeNew(temp, data); err != nil {
			return err
		}
		if err := move(temp, name); err != nil {
			return err
		}
		syncDir(filepath.Dir(name))
		return nil
	})
}

// createDir makes a directory of files that is not there yet; else the error is
// [fs.ErrExist], but on Windows.
func (d *disk) createDir(name string, files map[string][]byte) error {
	return d.withTemp(func(temp string) error {
		if err := os.Mkdir(temp, 0o700); err != nil {
			return err
		}
		for file, data := range files {
			if err := writeNew(filepath.Join(temp, file), data); err != nil {
				return err
			}
		}
		syncDir(temp)
		if err := os.Rename(temp, name); err != nil {
			return err
		}
		syncDir(filepath.Dir(name))
		return nil
	})
}

// removeDir removes a directory with all that is in it.
func (d *disk) removeDir(name string) error {
	return d.withTemp(func(temp string) error { return os.Rename(name, temp) })
}

// sweep removes what processes that were killed have left.
func (d *disk) sweep() error {
	entries, err := os.ReadDir(d.tmp())
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > maxTempAge {
			_ = os.RemoveAll(filepath.Join(d.tmp(), entry.Name())) // else the next one does it
		}
	}
	return nil
}
