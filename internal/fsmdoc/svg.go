package main

import (
	"fmt"
	"html"
	"strings"

	"leasehold/fsm"
	"leasehold/vm"
)

// The grid, in pixels: a column for the verbs, then one for each state.
const (
	cellWidth  = 92
	cellHeight = 24
	nameWidth  = 120
)

// svg draws every verdict as a coloured square with its reason as a tooltip: no tool is needed to make or to read it.
func svg() string {
	states, verbs := vm.States(), vm.Verbs()
	width, height := nameWidth+cellWidth*len(states), cellHeight*(len(verbs)+2)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" `+
		`font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	text := func(x, y int, anchor, words string) {
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="%s" fill="#222222">%s</text>`+"\n", x, y+16, anchor, html.EscapeString(words))
	}
	for col, s := range states {
		text(nameWidth+col*cellWidth+cellWidth/2, 0, "middle", string(s))
	}
	for row, on := range verbs {
		y := (row + 1) * cellHeight
		text(nameWidth-8, y, "end", string(on))
		for col, s := range states {
			cell, x := fsm.At(s, on), nameWidth+col*cellWidth
			colour, label := look(cell)
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" rx="3" fill="%s"><title>%s</title></rect>`+"\n",
				x+1, y+1, cellWidth-2, cellHeight-2, colour, html.EscapeString(fmt.Sprintf("%s in %s: %s", on, s, cell.Why)))
			text(x+cellWidth/2, y, "middle", label)
		}
	}
	y := (len(verbs) + 1) * cellHeight
	for i, key := range []struct {
		cell  fsm.Cell
		means string
	}{
		{fsm.Cell{Kind: fsm.Allowed}, "legal, leads to"},
		{fsm.Cell{Kind: fsm.Allowed, ByFault: true}, "if the error allows it"},
		{fsm.Cell{Kind: fsm.Already}, "already so"},
		{fsm.Cell{Kind: fsm.Denied}, "denied"},
	} {
		colour, _ := look(key.cell)
		x := nameWidth + 2*i*cellWidth
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="14" height="14" rx="3" fill="%s"/>`+"\n", x, y+5, colour)
		text(x+20, y, "start", key.means)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// look is the colour and the label of a square.
func look(c fsm.Cell) (colour, label string) {
	switch {
	case c.Kind == fsm.Already:
		return "#d5dbe3", "already"
	case c.Kind == fsm.Denied:
		return "#f4f4f4", ""
	case c.ByFault:
		return "#ffe2a8", string(c.To)
	}
	return "#bfe6c4", string(c.To)
}
