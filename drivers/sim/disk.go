package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"leasehold/drivers"
)

// disk is what a simulated disk holds: lines of a word and what is to be said of it, each word once. It tells what the
// disk was made of, whose it is, and what its guests did with it:
//
//	image "builtin:default"
//	machine 0198c2ba-... "web"
//	boots 2
//	wrote "hello"
//	password "root" 5e884898...
//
// A copy of a disk is a copy of the text. A disk made of such a copy has other words for image and machine and keeps
// the rest, so that it can be seen where something came from.
type disk string

// made is k as the disk of the machine s, and of the image.
func (k disk) made(s drivers.Spec, image drivers.Image) disk {
	return k.with("image", strconv.Quote(image.URL)).with("machine", fmt.Sprintf("%s %q", s.ID, s.Name))
}

// of is what the disk says of the word; empty when it says nothing.
func (k disk) of(word string) string {
	for line := range strings.Lines(string(k)) {
		if rest, ok := strings.CutPrefix(line, word+" "); ok {
			return strings.TrimSuffix(rest, "\n")
		}
	}
	return ""
}

// with is k saying something else of the word. What is said has no line breaks: names and the like are quoted.
func (k disk) with(word, what string) disk {
	line := word + " " + what + "\n"
	lines := slices.Collect(strings.Lines(string(k)))
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, word+" ") })
	if i < 0 {
		return disk(strings.Join(append(lines, line), ""))
	}
	lines[i] = line
	return disk(strings.Join(lines, ""))
}

// booted is k after one more boot.
func (k disk) booted() disk {
	boots, _ := strconv.Atoi(k.of("boots")) // 0 when it says nothing
	return k.with("boots", strconv.Itoa(boots+1))
}
