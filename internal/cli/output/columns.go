package output

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"google.golang.org/protobuf/proto"
)

// Where a column is shown. What is shown in a narrower place is shown in the wider ones too.
type place int

const (
	always   place = iota // in every table
	wide                  // in wide tables
	details               // only where one record is shown
	listOnly              // in every table, but not where one record is shown: another column says it better there
)

// column is one fact of a record. Its text may be empty.
type column[T any] struct {
	title string
	place place
	text  func(v view, item T) string
}

// list prints the items of a response in columns.
func list[T any](p Printer, response proto.Message, items []T, columns []column[T]) error {
	if p.Format.Structured() {
		return p.message(response)
	}
	return p.aligned(p.squeezed(grid(p, items, columns)))
}

// show prints one record, one fact a line. Facts that are empty are left out.
func show[T proto.Message](p Printer, item T, columns []column[T]) error {
	if p.Format.Structured() {
		return p.message(item)
	}
	v := view{now: p.Now(), full: true, dated: true}
	var rows [][]string
	for _, c := range columns {
		if text := c.text(v, item); text != "" && c.place != listOnly {
			rows = append(rows, []string{c.title + ":", text})
		}
	}
	return p.aligned(rows)
}

func grid[T any](p Printer, items []T, columns []column[T]) [][]string {
	v := view{now: p.Now(), full: p.Format == Wide}
	rows := make([][]string, len(items)+1)
	for _, c := range columns {
		if c.place == details || c.place == wide && p.Format != Wide {
			continue
		}
		rows[0] = append(rows[0], strings.ToUpper(c.title))
		for i, item := range items {
			rows[i+1] = append(rows[i+1], orDash(c.text(v, item)))
		}
	}
	return rows
}

// aligned prints rows in columns that fit a terminal; the last one is not padded.
func (p Printer) aligned(rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	clean := make([][]string, len(rows))
	for n, row := range rows {
		clean[n] = make([]string, len(row))
		for i, cell := range row {
			clean[n][i] = plain(cell)
		}
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, gap, ' ', 0)
	for _, cells := range fit(clean, p.Columns) {
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_ = w.Flush() // a Builder takes everything
	var lines strings.Builder
	for line := range strings.Lines(text.String()) {
		lines.WriteString(strings.TrimRight(line, " \n") + "\n") // a wrapped row may have nothing in its last cell
	}
	return p.write(lines.String())
}

// nothing is what stands where a table has nothing to say.
const nothing = "-"

func orDash(text string) string {
	if text == "" {
		return nothing
	}
	return text
}
