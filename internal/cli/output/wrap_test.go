package output_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	conductorv1 "leasehold/api/conductor/v1"
	"leasehold/internal/cli/output"
)

func TestSentencesAreWrappedToTheTerminal(t *testing.T) {
	actions := &conductorv1.ListActionsResponse{Actions: []*conductorv1.Action{
		{Action: "stop", Legal: true, To: "stopped", Message: "the operator or the guest asked, and it obeyed"},
		{Action: "start", Message: "it runs"},
	}}
	for columns, want := range map[int]string{
		0: "ACTION  LEGAL  TO       WHY\n" +
			"stop    yes    stopped  the operator or the guest asked, and it obeyed\n" +
			"start   no     -        it runs\n",
		48: "ACTION  LEGAL  TO       WHY\n" +
			"stop    yes    stopped  the operator or the\n" +
			"                        guest asked, and it\n" +
			"                        obeyed\n" +
			"start   no     -        it runs\n",
		30: "ACTION  LEGAL  TO       WHY\n" + // it cannot be made to fit
			"stop    yes    stopped  the operator or the guest asked, and it obeyed\n" +
			"start   no     -        it runs\n",
	} {
		var b bytes.Buffer
		p := output.Printer{Out: &b, Columns: columns, Now: time.Now}
		require.NoError(t, p.Actions(actions))
		require.Equal(t, want, b.String(), columns)
	}
}

func TestTheWidestColumnsGiveWayAndIDsStayWhole(t *testing.T) {
	var b bytes.Buffer
	p := output.Printer{Out: &b, Columns: 88, Now: time.Now}
	require.NoError(t, p.FSM(&conductorv1.FSM{Recovery: []*conductorv1.RecoveryRow{{
		TaskState: "01934f6e-0000-7000-8000-000000000001", Policy: "probe",
		Then: "as it was while the old one is whole", Why: "it can be made again",
	}}}))
	require.Equal(t, ""+
		"TASK STATE                            AFTER A CRASH  ELSE             WHY\n"+
		"01934f6e-0000-7000-8000-000000000001  probe          as it was while  it can be made\n"+
		"                                                     the old one is   again\n"+
		"                                                     whole\n", b.String())
}

func TestColumnsWithNothingInThemAreLeftOutWhereThereIsNoRoom(t *testing.T) {
	const id = "01934f6e-0000-7000-8000-000000000001"
	tasks := &conductorv1.ListTasksResponse{Tasks: []*conductorv1.Task{
		{Id: id, Kind: "stop", Instance: id, Status: "succeeded", CreatedAt: at(0), EndedAt: at(0)},
	}}
	for columns, want := range map[int]string{
		99: "ID                                    KIND  INSTANCE       STATUS     STEP  CONDUCTOR  TOOK  AGE\n",
		80: "ID             KIND  INSTANCE       STATUS     STEP  CONDUCTOR  TOOK  AGE\n",
		60: "ID             KIND  INSTANCE       STATUS     TOOK  AGE\n",
	} {
		var b bytes.Buffer
		p := output.Printer{Out: &b, Columns: columns, Now: func() time.Time { return began }}
		require.NoError(t, p.Tasks(tasks))
		title, _, _ := bytes.Cut(b.Bytes(), []byte("\n"))
		require.Equal(t, want, string(title)+"\n", columns)
	}
}
