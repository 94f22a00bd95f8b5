package linuxguest

// Order is order with names for modules.
func Order(all map[string][]byte, wanted []string) ([]string, error) {
	ordered, err := order(all, wanted)
	var names []string
	for _, m := range ordered {
		names = append(names, m.name)
	}
	return names, err
}
