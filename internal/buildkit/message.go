package buildkit

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// message is a message in the encoding of protocol buffers. The fields that are written and read are those of BuildKit's
// .proto files (api/services/control, session/*); what else a message holds is skipped.
type message []byte

// text appends a field, unless it is empty.
func (m message) text(field protowire.Number, s string) message {
	if s == "" {
		return m
	}
	return protowire.AppendString(protowire.AppendTag(m, field, protowire.BytesType), s)
}

func (m message) data(field protowire.Number, b []byte) message {
	return protowire.AppendBytes(protowire.AppendTag(m, field, protowire.BytesType), b)
}

func (m message) number(field protowire.Number, n uint64) message {
	return protowire.AppendVarint(protowire.AppendTag(m, field, protowire.VarintType), n)
}

// pairs appends a map, in the order of its keys.
func (m message) pairs(field protowire.Number, all map[string]string) message {
	for _, key := range slices.Sorted(maps.Keys(all)) {
		m = m.data(field, message{}.text(1, key).text(2, all[key]))
	}
	return m
}

// value is that of one field: a number or bytes.
type value struct {
	number uint64
	bytes  []byte
}

func (v value) text() string { return string(v.bytes) }

func (v value) nested() message { return v.bytes }

// each visits the fields of a message in their order.
func (m message) each(visit func(field protowire.Number, v value) error) error {
	for len(m) > 0 {
		field, kind, n := protowire.ConsumeTag(m)
		if n < 0 {
			return errProtocol
		}
		m = m[n:]
		var v value
		switch kind {
		case protowire.VarintType:
			v.number, n = protowire.ConsumeVarint(m)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(m)
		default:
			n = protowire.ConsumeFieldValue(field, kind, m)
		}
		if n < 0 {
			return errProtocol
		}
		m = m[n:]
		if err := visit(field, v); err != nil {
			return err
		}
	}
	return nil
}

// field is the last value of a field, as protocol buffers have it. What cannot be read has none.
func (m message) field(wanted protowire.Number) (last value) {
	_ = m.each(func(field protowire.Number, v value) error {
		if field == wanted {
			last = v
		}
		return nil
	})
	return last
}

// table is the map that a field holds.
func (m message) table(wanted protowire.Number) map[string]string {
	all := map[string]string{}
	_ = m.each(func(field protowire.Number, v value) error {
		if field == wanted {
			all[v.nested().field(1).text()] = v.nested().field(2).text()
		}
		return nil
	})
	return all
}
