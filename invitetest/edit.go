package invitetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// An Object is a JSON object that is being written.
type Object = map[string]any

// An Edit changes an event, or another object, that is being made, before it is hashed and
// signed; [Change] makes edits afterwards. It must not call the methods of the [Room] that
// makes the event.
type Edit func(object Object)

// Set returns an Edit that sets the member that path leads to, key by key:
//
//	Set("ban", "content", "membership")
//
// What is no object on the way becomes one. value is what [json.Marshal] takes; a
// [json.RawMessage] stays as it is, duplicate keys included. Set panics without a path.
func Set(value any, path ...string) Edit {
	last := lastOf(path)
	return func(o Object) { inner(o, path)[last] = clone(value) }
}

// Drop returns an Edit that removes the member that path leads to. It panics without a path.
func Drop(path ...string) Edit {
	last := lastOf(path)
	return func(o Object) { delete(inner(o, path), last) }
}

func lastOf(path []string) string {
	if len(path) == 0 {
		panic("invitetest: an edit without a path")
	}
	return path[len(path)-1]
}

// inner returns the object that holds the last member of path.
func inner(o Object, path []string) Object {
	for _, key := range path[:len(path)-1] {
		next := objectOf(o[key])
		o[key] = next
		o = next
	}
	return o
}

// objectOf returns v, if it is an object, in a form that can be changed, else a new one.
func objectOf(v any) Object {
	switch v := v.(type) {
	case Object:
		return v
	case json.RawMessage:
		if o, err := decode(v); err == nil {
			return o
		}
	}
	return Object{}
}

// clone copies what edits can change, so that an Edit may be used again.
func clone(v any) any {
	switch v := v.(type) {
	case Object:
		o := make(Object, len(v))
		for key, member := range v {
			o[key] = clone(member)
		}
		return o
	case []any:
		a := make([]any, len(v))
		for i, element := range v {
			a[i] = clone(element)
		}
		return a
	}
	return v
}

// Change returns object with the edits, as somebody changes it who cannot hash and sign it
// anew. Numbers stay as they are written. It panics if object is no JSON object.
func Change(object json.RawMessage, edits ...Edit) json.RawMessage {
	o := Decode(object)
	for _, edit := range edits {
		edit(o)
	}
	return Encode(o)
}

// Decode reads a JSON object of the test's own; its numbers are [json.Number], and of
// duplicate keys the last counts. It panics if it is none.
func Decode(object []byte) Object {
	o, err := decode(object)
	if err != nil {
		panic(fmt.Sprintf("invitetest: no JSON object: %v", err))
	}
	return o
}

func decode(object []byte) (Object, error) {
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber()
	var o Object
	if err := d.Decode(&o); err != nil {
		return nil, err
	}
	if _, err := d.Token(); o == nil || err != io.EOF {
		return nil, fmt.Errorf("null, or more than one value")
	}
	return o, nil
}

// Encode is [json.Marshal] without its escapes for HTML. It panics where that has an error.
func Encode(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("invitetest: %v", err))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// textOf returns the JSON of an event: as it is, if it is JSON already.
func textOf(event any) json.RawMessage {
	switch event := event.(type) {
	case json.RawMessage:
		return event
	case []byte:
		return event
	}
	return Encode(event)
}
