package dockerfile

import (
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/util/suggest"

	"github.com/ksera524/imgbump/internal/fault"
)

// finding is what is doubtful about a line.
type finding struct {
	line    int
	message string
}

// warn notes what is doubtful about a line of the Dockerfile, or all of it when line is 0.
func (f *File) warn(line int, format string, args ...any) {
	f.findings = append(f.findings, finding{line, fmt.Sprintf(format, args...)})
}

// tell hands the findings out, by line.
func (f *File) tell() {
	slices.SortStableFunc(f.findings, func(a, b finding) int { return a.line - b.line })
	for _, found := range f.findings {
		if f.opts.Warn != nil {
			f.opts.Warn(f.name, found.line, found.message)
		}
	}
	f.findings = nil
}

// lintArg is the build argument that goes before the directive "# check", as in BuildKit.
const lintArg = "BUILDKIT_DOCKERFILE_CHECK"

// newLinter is BuildKit's linter as the directive "# check" or the build argument configures it.
func (f *File) newLinter() (*linter.Linter, int, error) {
	text, _, location, _ := parser.ParseDirective("check", f.data)
	if given, ok := f.opts.Args[lintArg]; ok {
		text = given
	}
	config, err := linter.ParseLintOptions(text)
	if err != nil {
		return nil, firstLine(location), err
	}
	config.Warn = func(rule, _, _, message string, location []parser.Range) {
		f.warn(firstLine(location), "%s: %s", rule, message)
	}
	return linter.New(config), firstLine(location), nil
}

// violated is the error that "# check=error=true" asks for when there were findings.
func (f *File) violated() error {
	if !f.lint.ReturnAsError || len(*f.lint.CalledRules) == 0 {
		return nil
	}
	rules := slices.Clone(*f.lint.CalledRules)
	slices.Sort(rules)
	return &fault.Error{Kind: fault.Gate, Where: f.name, Hint: "# check=error=true demands that no rule is broken",
		Err: fmt.Errorf("against the rules %s", strings.Join(slices.Compact(rules), ", "))}
}

// lintFile applies the rules for names and spelling, which look at the whole file.
func (f *File) lintFile(warnings []parser.Warning, stages []instructions.Stage) {
	for _, w := range warnings {
		if w.URL == linter.RuleNoEmptyContinuation.URL && w.Location != nil {
			f.lint.Run(&linter.RuleNoEmptyContinuation, []parser.Range{*w.Location}, linter.RuleNoEmptyContinuation.Format())
		}
	}
	names := map[string]bool{}
	for _, s := range stages {
		if s.Name == scratch || s.Name == "context" {
			f.lint.Run(&linter.RuleReservedStageName, s.Location, linter.RuleReservedStageName.Format(s.Name))
		}
		if s.Name != "" && names[s.Name] {
			f.lint.Run(&linter.RuleDuplicateStageName, s.Location, linter.RuleDuplicateStageName.Format(s.Name))
		}
		names[s.Name] = true
	}
	f.lintCasing(stages)
}

// lintCasing wants all instructions in capitals, or none.
func (f *File) lintCasing(stages []instructions.Stage) {
	type written struct {
		name     string
		location []parser.Range
	}
	var all []written
	for _, s := range stages {
		all = append(all, written{s.OrigCmd, s.Location})
		for _, c := range s.Commands {
			all = append(all, written{c.Name(), c.Location()})
		}
	}
	lower, upper := 0, 0
	for _, w := range all {
		switch w.name {
		case strings.ToLower(w.name):
			lower++
		case strings.ToUpper(w.name):
			upper++
		}
	}
	spell, spelling := strings.ToUpper, "uppercase"
	if lower > upper {
		spell, spelling = strings.ToLower, "lowercase"
	}
	for _, w := range all {
		if spell(w.name) != w.name {
			f.lint.Run(&linter.RuleConsistentInstructionCasing, w.location, linter.RuleConsistentInstructionCasing.Format(w.name, spelling))
		}
	}
}

// lintBases wants each FROM to name an image also when no ARG is given a value.
func (f *File) lintBases(stages []instructions.Stage, args []instructions.ArgCommand) {
	env := f.predefined(nil)
	for _, arg := range args {
		for _, a := range arg.Args {
			if a.Value == nil {
				continue
			}
			value, _, err := f.lex().ProcessWord(*a.Value, shell.EnvsFromSlice(env))
			if err != nil {
				return
			}
			env = setenv(env, a.Key, value)
		}
	}
	for _, s := range stages {
		base, _, err := f.lex().ProcessWord(s.BaseName, shell.EnvsFromSlice(env))
		if err != nil {
			return
		}
		if _, err := reference.ParseNormalizedNamed(base); err != nil {
			f.lint.Run(&linter.RuleInvalidDefaultArgInFrom, s.Location, linter.RuleInvalidDefaultArgInFrom.Format(s.BaseName))
		}
	}
}

// lintFrom applies the rules for the variables of a FROM, whose image or platform was expanded to found.
func (f *File) lintFrom(s instructions.Stage, found shell.ProcessWordResult) {
	lint := f.lint.WithMergedConfigFromComments(s.Comments)
	known := make([]string, 0, len(f.global)+len(f.args))
	for _, e := range f.global {
		name, _, _ := strings.Cut(e, "=")
		known = append(known, name)
	}
	for _, name := range sorted(found.Unmatched) {
		if f.args[name] {
			continue
		}
		near, _ := suggest.Search(name, known, true)
		lint.Run(&linter.RuleUndefinedArgInFrom, s.Location, linter.RuleUndefinedArgInFrom.Format(name, near))
	}
}

// lintFromPlatform applies the rules for FROM --platform.
func (f *File) lintFromPlatform(s instructions.Stage, found shell.ProcessWordResult) {
	lint := f.lint.WithMergedConfigFromComments(s.Comments)
	_, isTarget := found.Matched["TARGETPLATFORM"]
	target, _ := lookup(f.global, "TARGETPLATFORM")
	switch {
	case len(found.Matched) == 1 && len(found.Unmatched) == 0 && isTarget && found.Result == target:
		lint.Run(&linter.RuleRedundantTargetPlatform, s.Location, linter.RuleRedundantTargetPlatform.Format(s.Platform))
	case len(found.Matched)+len(found.Unmatched) == 0:
		p, err := ParsePlatform(found.Result)
		if err == nil && !strings.Contains(s.Name, p.OS) && !strings.Contains(s.Name, p.Architecture) {
			lint.Run(&linter.RuleFromPlatformFlagConstDisallowed, s.Location, linter.RuleFromPlatformFlagConstDisallowed.Format(found.Result))
		}
	}
}

// stageLint is what the rules have to know about a stage while its instructions are gone through.
type stageLint struct {
	declared   map[string]bool           // ARGs, also those without a value
	last       map[string][]parser.Range // CMD, ENTRYPOINT and HEALTHCHECK, which count once
	hasWorkdir bool
}

// lintUndefined names the variables of an instruction that nothing defines.
func (b *builder) lintUndefined(r *rootfs, c instructions.Command, unmatched map[string]struct{}) {
	known := make([]string, 0, len(r.env))
	for _, e := range r.env {
		name, _, _ := strings.Cut(e, "=")
		known = append(known, name)
	}
	for _, name := range sorted(unmatched) {
		if !r.lint.declared[name] {
			near, _ := suggest.Search(name, known, runtime.GOOS != "windows")
			b.rules(c).Run(&linter.RuleUndefinedVar, c.Location(), linter.RuleUndefinedVar.Format(name, near))
		}
	}
}

// rules is the linter as the comments above an instruction configure it.
func (b *builder) rules(c instructions.Command) *linter.Linter {
	return b.lint.WithMergedConfigFromComments(c.Comments())
}

// lintInstruction applies the rules for single instructions. It comes before r's config is changed.
func (b *builder) lintInstruction(r *rootfs, c instructions.Command) {
	lint := b.rules(c)
	switch c := c.(type) {
	case *instructions.EnvCommand:
		for _, e := range c.Env {
			lintLegacy(lint, c, e)
			lintSecret(lint, c, "ENV", e.Key)
		}
	case *instructions.LabelCommand:
		for _, l := range c.Labels {
			lintLegacy(lint, c, l)
		}
	case *instructions.ArgCommand:
		for _, a := range c.Args {
			lintSecret(lint, c, "ARG", a.Key)
			if _, given := b.opts.Args[a.Key]; !given && a.Value != nil {
				if _, unmatched, err := b.lex().ProcessWord(*a.Value, shell.EnvsFromSlice(r.env)); err == nil {
					b.lintUndefined(r, c, unmatched)
				}
			}
			r.lint.declared[a.Key] = true
		}
	case *instructions.WorkdirCommand:
		if !r.lint.hasWorkdir && !strings.HasPrefix(c.Path, "/") {
			lint.Run(&linter.RuleWorkdirRelativePath, c.Location(), linter.RuleWorkdirRelativePath.Format(c.Path))
		}
		r.lint.hasWorkdir = true
	case *instructions.CmdCommand:
		r.lintOnce(lint, c)
		r.lintShellForm(lint, c, c.PrependShell)
	case *instructions.EntrypointCommand:
		r.lintOnce(lint, c)
		r.lintShellForm(lint, c, c.PrependShell)
	case *instructions.HealthCheckCommand:
		r.lintOnce(lint, c)
	}
}

// lintOnce finds instructions of which only the last counts.
func (r *rootfs) lintOnce(lint *linter.Linter, c instructions.Command) {
	name := strings.ToUpper(c.Name())
	if earlier := r.lint.last[name]; earlier != nil {
		lint.Run(&linter.RuleMultipleInstructionsDisallowed, earlier, linter.RuleMultipleInstructionsDisallowed.Format(c.Name()))
	}
	r.lint.last[name] = c.Location()
}

func (r *rootfs) lintShellForm(lint *linter.Linter, c instructions.Command, shellForm bool) {
	if shellForm && len(r.config.Config.Shell) == 0 {
		lint.Run(&linter.RuleJSONArgsRecommended, c.Location(), linter.RuleJSONArgsRecommended.Format(c.Name()))
	}
}

func lintLegacy(lint *linter.Linter, c instructions.Command, kv instructions.KeyValuePair) {
	if kv.NoDelim {
		lint.Run(&linter.RuleLegacyKeyValueFormat, c.Location(), linter.RuleLegacyKeyValueFormat.Format(c.Name()))
	}
}

// Names of variables that look like secrets, but for some that surely are none: the words of BuildKit's rule.
var (
	secretName = regexp.MustCompile(`(?i)(?:_|^)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)`)
	publicName = regexp.MustCompile(`(?i)(?:_|^)(?:public|file|version)(?:_|$)`)
)

func lintSecret(lint *linter.Linter, c instructions.Command, instruction, name string) {
	if secretName.MatchString(name) && !publicName.MatchString(name) {
		lint.Run(&linter.RuleSecretsUsedInArgOrEnv, c.Location(), linter.RuleSecretsUsedInArgOrEnv.Format(instruction, name))
	}
}

// lintPort applies the rules for a word of EXPOSE.
func (b *builder) lintPort(c instructions.Command, spec string) {
	numbers, protocol, _ := strings.Cut(spec, "/")
	if protocol != strings.ToLower(protocol) {
		b.rules(c).Run(&linter.RuleExposeProtoCasing, c.Location(), linter.RuleExposeProtoCasing.Format(spec))
	}
	if strings.Contains(numbers, ":") {
		b.rules(c).Run(&linter.RuleExposeInvalidFormat, c.Location(), linter.RuleExposeInvalidFormat.Format(spec))
	}
}

// lintIgnored finds sources that .dockerignore leaves out. With ! patterns nothing is certain without looking.
func (b *builder) lintIgnored(c instructions.Command, sources []string) error {
	matcher := b.files.ignore
	if matcher.Exclusions() {
		return nil
	}
	for _, src := range sources {
		name := relative(src)
		all := slices.ContainsFunc(b.files.patterns, func(p string) bool { return p == "*" || p == "**" || p == "**/*" })
		if name == "." && !all {
			continue
		}
		ignored, err := matcher.MatchesOrParentMatches(name)
		if err != nil {
			return err
		}
		if ignored {
			verb := strings.ToUpper(c.Name()[:1]) + strings.ToLower(c.Name()[1:])
			b.rules(c).Run(&linter.RuleCopyIgnoredFile, c.Location(), linter.RuleCopyIgnoredFile.Format(verb, name))
		}
	}
	return nil
}

// lintPlatform finds images that are for another platform. What is copied out of one may run anywhere.
func (b *builder) lintPlatform(c instructions.Command, ref string, r *rootfs) {
	if !r.runsOn(b.platform) {
		b.rules(c).Run(&linter.RuleInvalidBaseImagePlatform, c.Location(),
			linter.RuleInvalidBaseImagePlatform.Format(ref, b.platform.String(), r.config.Platform().String()))
	}
}

func sorted(set map[string]struct{}) []string {
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
