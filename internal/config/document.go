package config

// document is the file. A field's key is its YAML key; what is marked later is known and checked, but not followed yet.
// docs/imgbump.schema.json says the same to editors, and a test holds the two together.
type document struct {
	Line       int
	Version    number     `key:"version"`
	Images     []image    `key:"images"`
	Fields     []field    `key:"fields"`
	Exclude    exclude    `key:"exclude"`
	Targets    []target   `key:"targets"`
	Registries []registry `key:"registries" later:"yes"`
}

// image says what may be done to the sites of a repository.
type image struct {
	Line   int
	Name   text   `key:"name"`
	Paths  []text `key:"paths"`
	Policy policy `key:"policy" later:"yes"`
	Hold   text   `key:"hold"`
}

type policy struct {
	Strategy   text   `key:"strategy"`
	Constraint text   `key:"constraint"`
	AllowTags  []text `key:"allow-tags"`
	IgnoreTags []text `key:"ignore-tags"`
	Platforms  []text `key:"platforms"`
	MinAge     text   `key:"min-age"`
}

// field is a place that names an image and that nobody would guess.
type field struct {
	Line  int
	Kind  text `key:"kind"`
	File  text `key:"file"`
	Field text `key:"field"`
	Image text `key:"image"`
}

type exclude struct {
	Paths []text `key:"paths"`
	Kinds []text `key:"kinds"`
}

// target is where commits go.
type target struct {
	Line   int
	Name   text   `key:"name"`
	Repo   text   `key:"repo"`
	Branch text   `key:"branch"`
	Paths  []text `key:"paths"`
	PR     truth  `key:"pr"`
}

type registry struct {
	Prefix      text   `key:"prefix"`
	Credentials text   `key:"credentials"`
	Limit       number `key:"limit"`
	CAFile      text   `key:"ca-file"`
}

// text, number and truth are scalars; line is 0 where the file has none.
type (
	text struct {
		value string
		line  int
	}
	number struct {
		value int
		line  int
	}
	truth struct {
		value bool
		line  int
	}
)
