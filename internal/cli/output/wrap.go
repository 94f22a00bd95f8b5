package output

import (
	"strings"
	"unicode/utf8"
)

const (
	gap        = 2  // between two columns
	narrowest  = 16 // a column is not made narrower by wrapping: what is left of its sentences could not be read
	neverWraps = 0  // Printer.Columns of what is no terminal
)

// squeezed makes a list narrower that would not fit into a terminal: ids are short then and, when that is not enough,
// columns with nothing in them are left out. Into a file, and when all was asked for, nothing is left out.
func (p Printer) squeezed(rows [][]string) [][]string {
	tooWide := func() bool {
		widths, _ := measure(rows)
		return p.Columns != neverWraps && p.Format != Wide && total(widths) > p.Columns
	}
	if !tooWide() {
		return rows
	}
	for _, row := range rows {
		for i, cell := range row {
			row[i] = view{}.id(cell)
		}
	}
	if !tooWide() {
		return rows
	}
	filled := make([]bool, len(rows[0]))
	for _, row := range rows[1:] {
		for i, cell := range row {
			filled[i] = filled[i] || cell != nothing
		}
	}
	kept := make([][]string, len(rows))
	for n, row := range rows {
		for i, cell := range row {
			if filled[i] || len(rows) == 1 {
				kept[n] = append(kept[n], cell)
			}
		}
	}
	return kept
}

// fit wraps cells between words until the rows are no wider than columns, always the widest column first. A word is
// never broken: ids are copied by people. Rows that cannot be made to fit are left to the terminal.
func fit(rows [][]string, columns int) [][]string {
	if columns == neverWraps {
		return rows
	}
	widths, least := measure(rows)
	if total(least) > columns {
		return rows
	}
	for total(widths) > columns {
		at := -1
		for i, width := range widths {
			if width > least[i] && (at < 0 || width > widths[at]) {
				at = i
			}
		}
		widths[at]-- // there is one, as long as not all are at their least
	}
	var fitted [][]string
	for _, row := range rows {
		fitted = append(fitted, wrapped(row, widths)...)
	}
	return fitted
}

// measure returns how wide each column is, and how wide it must be: its longest word, or narrowest.
func measure(rows [][]string) (widths, least []int) {
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths, least = append(widths, 0), append(least, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
			for word := range strings.FieldsSeq(cell) {
				least[i] = max(least[i], utf8.RuneCountInString(word))
			}
		}
	}
	for i := range least {
		least[i] = min(max(least[i], narrowest), widths[i])
	}
	return widths, least
}

func total(widths []int) int {
	sum := gap * (len(widths) - 1)
	for _, width := range widths {
		sum += width
	}
	return sum
}

// wrapped is one row as the lines that it needs.
func wrapped(row []string, widths []int) [][]string {
	var lines [][]string
	for i, cell := range row {
		for n, piece := range pieces(cell, widths[i]) {
			if n == len(lines) {
				lines = append(lines, make([]string, len(row)))
			}
			lines[n][i] = piece
		}
	}
	return lines
}

// pieces cuts text between words into pieces of at most width, or of one longer word. All have its indent.
func pieces(text string, width int) []string {
	if utf8.RuneCountInString(text) <= width {
		return []string{text}
	}
	indent := text[:len(text)-len(strings.TrimLeft(text, " "))]
	var all []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = indent + word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			all = append(all, line)
			line = indent + word
		}
	}
	return append(all, line)
}
