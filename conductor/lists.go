package conductor

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"leasehold/vm"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

// cursor is where a page ended. Pages are stable: what comes and goes meanwhile shifts nobody else, because the next page
// begins behind a place in the order and not behind a number of records.
type cursor struct {
	Query string `json:"q"` // what was asked: a token goes on with its own list only
	Key   string `json:"k,omitempty"`
	ID    string `json:"i"`
}

// pageSize is the asked-for size of a page, within its bounds.
func pageSize(asked int32) (int, error) {
	if asked < 0 || asked > maxPage {
		return 0, vm.Refuse(vm.ReasonInvalidArgument, "cannot list %d on a page: from 1 to %d, or 0 for %d", asked, maxPage, defaultPage)
	}
	return cmp.Or(int(asked), defaultPage), nil
}

// readCursor takes a page token apart; nil for the first page.
func readCursor(token, query string) (*cursor, error) {
	if token == "" {
		return nil, nil
	}
	var c cursor
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || json.Unmarshal(raw, &c) != nil || c.ID == "" {
		return nil, vm.Refuse(vm.ReasonInvalidArgument, "cannot go on from the page token %s: no list gave it", shown(token))
	}
	if c.Query != query {
		return nil, vm.Refuse(vm.ReasonInvalidArgument, "cannot go on from the page token %s: it belongs to a list with other filters or order",
			shown(token))
	}
	return &c, nil
}

func (c cursor) token() string {
	raw, _ := json.Marshal(c) // three strings
	return base64.RawURLEncoding.EncodeToString(raw)
}

// listing is a list in its order: by key, then by id.
type listing[T any] struct {
	items []T
	id    func(T) string
	key   func(T) string // nil: by id alone
	desc  bool
	query string // the filters and the order, as the token keeps them
}

// page cuts the asked-for part out of the list.
func (l listing[T]) page(size int32, token string) (part []T, next string, err error) {
	limit, err := pageSize(size)
	if err != nil {
		return nil, "", err
	}
	from, err := readCursor(token, l.query)
	if err != nil {
		return nil, "", err
	}
	places := l.places()
	start := 0
	if from != nil {
		start, _ = slices.BinarySearchFunc(places, place[T]{key: from.Key, id: from.ID}, func(x, at place[T]) int {
			return cmp.Or(l.compare(x, at), -1) // behind the place itself
		})
	}
	places = places[start:]
	if len(places) > limit {
		places = places[:limit]
		last := places[limit-1]
		next = cursor{Query: l.query, Key: last.key, ID: last.id}.token()
	}
	for _, p := range places {
		part = append(part, p.is)
	}
	return part, next, nil
}

// place is an item with what it is sorted by, made once and not in every comparison.
type place[T any] struct {
	key, id string
	is      T
}

// places are the items in the list's order.
func (l listing[T]) places() []place[T] {
	places := make([]place[T], 0, len(l.items))
	for _, x := range l.items {
		p := place[T]{id: l.id(x), is: x}
		if l.key != nil {
			p.key = l.key(x)
		}
		places = append(places, p)
	}
	slices.SortFunc(places, l.compare)
	return places
}

func (l listing[T]) compare(a, b place[T]) int {
	order := cmp.Or(strings.Compare(a.key, b.key), strings.Compare(a.id, b.id))
	if l.desc {
		return -order
	}
	return order
}

// sortable is a moment as text whose order is that of time.
func sortable(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000") }

// rec is a record with its revision.
type rec[T any] struct {
	is  *T
	mod int64
}
