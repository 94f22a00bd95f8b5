package apijson_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/timestamppb"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/apijson"
)

func TestAnswersHaveNumbersAsNumbersAndEveryField(t *testing.T) {
	b, err := apijson.Marshal(&conductorv1.InstanceTask{
		Instance: &conductorv1.Instance{
			Id: "i", Name: "a\"<\u2028>", Metadata: map[string]string{"revision": "7", "a": "b"}, Volumes: []string{"v"},
			CreatedAt: timestamppb.New(time.Unix(0, 0)), Revision: 1 << 40,
		},
		Revision: 25,
	})
	require.NoError(t, err)
	var v struct {
		Instance map[string]any `json:"instance"`
		Task     any            `json:"task"`
		Revision int64          `json:"revision"`
	}
	require.NoError(t, json.Unmarshal(b, &v))
	require.Equal(t, int64(25), v.Revision)
	require.InDelta(t, 1<<40, v.Instance["revision"], 0)
	require.Equal(t, map[string]any{"revision": "7", "a": "b"}, v.Instance["metadata"], "what a user wrote stays a string")
	require.Equal(t, "a\"<\u2028>", v.Instance["name"])
	require.Equal(t, "1970-01-01T00:00:00Z", v.Instance["created_at"])
	require.Equal(t, []any{"v"}, v.Instance["volumes"])
	require.Empty(t, v.Instance["task_state"])
	require.Contains(t, v.Instance, "task_state", "fields without a value are there")
	require.Nil(t, v.Task)
}

func TestEveryMessageOfTheAPICanBeWrittenAndReadBack(t *testing.T) {
	n := 0
	protoregistry.GlobalTypes.RangeMessages(func(mt protoreflect.MessageType) bool {
		md := mt.Descriptor()
		if md.ParentFile().Path() != "api/conductor/v1/conductor.proto" && md.ParentFile().Package() != "leasehold.conductor.v1" {
			return true
		}
		if md.IsMapEntry() || hasBytes(md) { // bytes travel over gRPC only
			return true
		}
		n++
		m := mt.New()
		fill(m, 2)
		b, err := apijson.Marshal(m.Interface())
		require.NoError(t, err, md.FullName())
		back := mt.New().Interface()
		require.NoError(t, protojson.Unmarshal(b, back), "%s: %s", md.FullName(), b)
		require.True(t, proto.Equal(m.Interface(), back), "%s: %s", md.FullName(), b)
		return true
	})
	require.Greater(t, n, 30)
}

// fill sets every field of m, messages to some depth.
func fill(m protoreflect.Message, depth int) {
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		switch {
		case f.IsMap():
			if f.MapValue().Kind() == protoreflect.StringKind {
				m.Mutable(f).Map().Set(protoreflect.ValueOfString("k").MapKey(), protoreflect.ValueOfString("v"))
			}
		case f.Kind() == protoreflect.MessageKind:
			if depth == 0 {
				continue
			}
			child := m.NewField(f)
			if f.IsList() {
				element := child.List().NewElement()
				fill(element.Message(), depth-1)
				child.List().Append(element)
			} else {
				fill(child.Message(), depth-1)
			}
			m.Set(f, child)
		case f.IsList():
			m.Mutable(f).List().Append(scalar(f))
		default:
			m.Set(f, scalar(f))
		}
	}
}

// hasBytes says whether a message is for programs: a console's bytes, a host's key.
func hasBytes(md protoreflect.MessageDescriptor) bool {
	for i := range md.Fields().Len() {
		if md.Fields().Get(i).Kind() == protoreflect.BytesKind {
			return true
		}
	}
	return false
}

func scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(3)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(5)
	default:
		return protoreflect.ValueOfString("s")
	}
}
