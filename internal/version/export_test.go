package version

// Describe is what Version makes of the go command's knowledge.
var Describe = describe
