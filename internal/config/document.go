package config

// document is the file. A field's key is its YAML key.
// docs/imgbump.schema.json says the same to editors, and a test holds the two together.
type document struct {
	Line       int
	Version    number     `key:"version"`
	Images     []image    `key:"images"`
	Fields     []field    `key:"fields"`
	Exclude    exclude    `key:"exclude"`
	Targets    []target   `key:"targets"`
	Registries []registry `key:"registries"`
}

// image says what may be done to the sites of a repository.
type image struct {
	Line   int
	Name   text   `key:"name"`
	Paths  []text `key:"paths"`
	Policy choice `key:"policy"`
	Hold   text   `key:"hold"`
}

// choice says how a version is chosen.
type choice struct {
	Line       int
	Strategy   text   `key:"strategy"`
	Constraint text   `key:"constraint"`
	AllowTags  []text `key:"allow-tags"`
	IgnoreTags []text `key:"ignore-tags"`
	Extract    text   `key:"extract"`
	Platforms  []text `key:"platforms"`
	PreRelease truth  `key:"pre-release"`
	Order      text   `key:"order"`
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

// registry says how one is asked.
type registry struct {
	Line        int
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
