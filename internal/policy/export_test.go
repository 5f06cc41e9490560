package policy

// Value is what of a tag is compared; ok is false when its name rules it out.
func (p Policy) Value(tag string) (value string, ok bool) {
	value, v := p.value(tag)
	return value, v == admitted
}
