// Package apijson writes the messages of the API as the JSON that the API promises and that the records in etcd have:
// snake_case names, every field present, and 64-bit integers as numbers. protojson would write those as strings; revisions
// and byte counts stay below 2^53, which every reader of JSON takes. Reading is left to protojson, which takes both.
package apijson

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Marshal is m in compact form; map keys are sorted, so that the same message has the same bytes.
func Marshal(m proto.Message) ([]byte, error) { return appendMessage(nil, m.ProtoReflect()) }

func appendMessage(b []byte, m protoreflect.Message) ([]byte, error) {
	if m.Descriptor().ParentFile().Package() == "google.protobuf" || m.Descriptor().ParentFile().Package() == "google.rpc" {
		text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m.Interface())
		return append(b, text...), err
	}
	b = append(b, '{')
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.HasOptionalKeyword() && !m.Has(f) {
			continue
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = strconv.AppendQuote(b, string(f.Name()))
		b = append(b, ':')
		var err error
		if b, err = appendField(b, m, f); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendField(b []byte, m protoreflect.Message, f protoreflect.FieldDescriptor) ([]byte, error) {
	switch v := m.Get(f); {
	case f.IsMap():
		return appendMap(b, v.Map(), f.MapValue())
	case f.IsList():
		b = append(b, '[')
		for i := range v.List().Len() {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = appendValue(b, v.List().Get(i), f); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case f.Kind() == protoreflect.MessageKind && !m.Has(f):
		return append(b, "null"...), nil
	default:
		return appendValue(b, v, f)
	}
}

func appendMap(b []byte, m protoreflect.Map, value protoreflect.FieldDescriptor) ([]byte, error) {
	keys := make([]string, 0, m.Len())
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k.String())
		return true
	})
	slices.Sort(keys)
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendString(b, k); err != nil {
			return nil, err
		}
		b = append(b, ':')
		if b, err = appendValue(b, m.Get(protoreflect.ValueOfString(k).MapKey()), value); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendValue(b []byte, v protoreflect.Value, f protoreflect.FieldDescriptor) ([]byte, error) {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return appendMessage(b, v.Message())
	case protoreflect.StringKind:
		return appendString(b, v.String())
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool()), nil
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return strconv.AppendInt(b, v.Int(), 10), nil
	default: // a test marshals every message of the API
		return nil, fmt.Errorf("internal error: cannot write %s: no form for %s", f.FullName(), f.Kind())
	}
}

func appendString(b []byte, s string) ([]byte, error) {
	text, err := json.Marshal(s)
	return append(b, text...), err
}
