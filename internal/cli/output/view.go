package output

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	conductorv1 "leasehold/api/conductor/v1"
)

// view is how much a text may say.
type view struct {
	now   time.Time
	full  bool // other records' ids are not shortened
	dated bool // times stand before their age
}

// shortID is how much of another record's id a table shows, and of its own where there is no room: the time in a UUIDv7,
// to the millisecond. It is rarely ambiguous, and the server says so when it is.
const shortID = len("01934f6e-0000")

func (v view) id(id string) string {
	if !v.full && uuid.MatchString(id) {
		return id[:shortID]
	}
	return id
}

const uuidPattern = `[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`

var (
	uuid  = regexp.MustCompile("^" + uuidPattern + "$")
	uuids = regexp.MustCompile(`\b` + uuidPattern + `\b`)
)

// sentence is what a server says, with ids as everywhere else in the view.
func (v view) sentence(text string) string { return uuids.ReplaceAllStringFunc(text, v.id) }

// age is how long ago at was, or the moment and how long ago it was; empty without a time.
func (v view) age(at *timestamppb.Timestamp) string {
	if at == nil {
		return ""
	}
	age := Duration(v.now.Sub(at.AsTime()))
	if v.dated {
		return fmt.Sprintf("%s (%s ago)", moment(at.AsTime()), age)
	}
	return age
}

// moment is t as everything of ours writes a time.
func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Duration is d in its two largest units, as "45s", "3m12s", "5h3m", "12d4h"; "0s" for what lies ahead by a little,
// because two machines rarely agree on the second.
func Duration(d time.Duration) string {
	const day = 24 * time.Hour
	d = max(d, 0).Truncate(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	}
}

// Bytes is n in the largest unit that leaves it at 1 or more.
func Bytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, units := float64(n)/unit, "KMGTPE"
	for value >= unit && len(units) > 1 {
		value, units = value/unit, units[1:]
	}
	return fmt.Sprintf("%.1f %ciB", value, units[0])
}

func size(s *conductorv1.Size) string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf("%d vCPU, %d MiB, %d GiB", s.GetVcpus(), s.GetMemoryMib(), s.GetDiskGib())
}

func pairs(m map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		all = append(all, key+"="+m[key])
	}
	return strings.Join(all, ", ")
}

func words(list []string) string { return strings.Join(list, ", ") }

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func number(n int64) string { return fmt.Sprint(n) }
