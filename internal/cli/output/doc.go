// Package output prints what the API answers: tables and sentences for people, JSON and YAML for programs. It decides no
// more than how a thing looks; what is fetched and how the process ends is decided in package cli.
//
//	format  a list             one record           an error
//	table   columns            lines "name: value"  sentences
//	wide    all columns        the same             sentences
//	json    the response       the record           {"error": {...}}
//	yaml    the response       the record           sentences
//
// A list is made to fit a terminal (wrap.go); into a file each row is one line with whole ids.
//
// JSON is the proto's: names as in the proto file, fields without a value present. What comes from outside is printed
// without its control characters, so no name can play with a terminal.
package output
